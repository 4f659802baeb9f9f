"""Joint-embedding predictive objectives: predict features of one part or view from another."""

from sensorium import hookimpl

sensorium_matrix = {
    "objectives/jepa": {"width": 96, "depth": 2},
    "objectives/lejepa": {"width": 256},
    "objectives/next-embedding-sigreg": {"name": "next-embedding", "anchor": "sigreg", "width": 128, "dim": 32},
    "objectives/visreg": {"width": 256, "dim": 64, "directions": 256},
    "objectives/regress": {"width": 256},
}
"""Narrow heads: what a few hundred steps on a thousand records can use."""

sensorium_options = {
    "objectives/jepa": {"width": 32, "depth": 1},
    "objectives/lejepa": {"width": 64, "dim": 32},
    "objectives/next-embedding": [{}, {"anchor": "sigreg", "sigreg_weight": 1.6, "width": 32, "dim": 16}],
    "objectives/visreg": {"width": 64, "dim": 32, "directions": 64},
    "objectives/regress": [
        {"width": 32},
        {"width": 32, "targets": "teacher"},
        {"width": 32, "targets": "teacher-tokens"},
    ],
}
"""The same for the records of the conformance kit."""


@hookimpl
def sensorium_register_objectives(register):
    """Register the predictive objectives."""
    home = "sensorium.plugins.predictive"
    register("jepa", f"{home}.jepa:JEPA", summary="I-JEPA: predict an EMA teacher's features of target blocks")
    register(
        "lejepa", f"{home}.lejepa:LeJEPA", summary="views predict the mean of global views; SIGReg prevents collapse"
    )
    register(
        "next-embedding",
        f"{home}.next_embedding:NextEmbedding",
        summary="NEPA: predict the embedding of the next token; with SIGReg, as LeWorldModel",
    )
    register(
        "visreg",
        f"{home}.visreg:VISReg",
        summary="views predict the mean of global views; scale, shape and center of features are regularized",
    )
    register(
        "regress",
        f"{home}.regress:Regress",
        summary="regression on descriptors of records (CheMeleon) or on a frozen teacher's features (distillation)",
    )
