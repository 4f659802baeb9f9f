"""Objectives that agree between views and keep features from collapsing by statistics of the batch."""

from sensorium import hookimpl

_HOME = "sensorium.plugins.redundancy"

sensorium_matrix = {
    "objectives/barlow-twins": {"width": 256, "dim": 128},
    "objectives/vicreg": {"width": 256, "dim": 128},
    "objectives/w-mse": {"width": 256, "dim": 32},
    "objectives/swav": {"prototypes": 32, "width": 256},
}
"""Narrow heads: what a few hundred steps on a thousand records can use."""


@hookimpl
def sensorium_register_objectives(register):
    """Register the redundancy objectives."""
    register(
        "barlow-twins", f"{_HOME}.barlow_twins:BarlowTwins", summary="make the views' cross-correlation the identity"
    )
    register("vicreg", f"{_HOME}.vicreg:VICReg", summary="equal views, dimensions that vary and do not covary")
    register("swav", f"{_HOME}.swav:SwAV", summary="predict a view's balanced cluster from the other views")
    register("w-mse", f"{_HOME}.w_mse:WMSE", summary="whiten both views together, then make them equal")
