"""Objectives that learn most from the negatives that are hardest to tell from the own pair."""

from sensorium import hookimpl

sensorium_matrix = {
    "objectives/hcl": {"width": 256},
}
"""Narrow heads: what a few hundred steps on a thousand records can use."""


@hookimpl
def sensorium_register_objectives(register):
    """Register the objectives of hard negatives."""
    register("hcl", "sensorium.plugins.hardnegative.hcl:HCL", summary="contrast two views; hard negatives weigh more")
    register(
        "hn-clip",
        "sensorium.plugins.hardnegative.hn_clip:HNCLIP",
        summary="align pairs of two modalities; hard negatives weigh more",
    )
