"""Redundancy reduction and clustering objectives: views agree, statistics of the batch prevent collapse."""

from sensorium import hookimpl

_HOME = "sensorium.plugins.redundancy"

sensorium_matrix = {
    "objectives/barlow-twins": {"width": 256, "dim": 128},
    "objectives/vicreg": {"width": 256, "dim": 128},
    "objectives/w-mse": {"width": 256, "dim": 32},
    "objectives/swav": {"prototypes": 32, "width": 256},
}
"""Narrow heads: what a few hundred steps on a thousand records can use."""

sensorium_options = {
    "objectives/barlow-twins": {"width": 64, "dim": 32},
    "objectives/vicreg": {"width": 64, "dim": 32},
    "objectives/w-mse": {"width": 64, "dim": 4},
    "objectives/swav": {"prototypes": 16, "width": 64},
}
"""The same for the records of the conformance kit."""


@hookimpl
def sensorium_register_objectives(register):
    """Register the redundancy objectives."""
    register(
        "barlow-twins", f"{_HOME}.barlow_twins:BarlowTwins", summary="cross-correlation of two views to the identity"
    )
    register("vicreg", f"{_HOME}.vicreg:VICReg", summary="variance-invariance-covariance regularization")
    register("swav", f"{_HOME}.swav:SwAV", summary="predict Sinkhorn-Knopp cluster codes of the other views")
    register("w-mse", f"{_HOME}.w_mse:WMSE", summary="mean squared error of whitened views")
