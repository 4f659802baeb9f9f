"""Distillation objectives: a student predicts what a teacher, or it itself, makes of another view."""

from sensorium import hookimpl

_HOME = "sensorium.plugins.distillation"

_HEADS = {"prototypes": 256, "width": 256, "bottleneck": 64}
sensorium_matrix = {
    "objectives/byol": {"width": 256},
    "objectives/simsiam": {"width": 256, "bottleneck": 64},
    "objectives/dino": _HEADS,
    "objectives/ibot": _HEADS,
    "objectives/dinov2": _HEADS,
}
"""Narrow heads: what a few hundred steps on a thousand records can use."""


@hookimpl
def sensorium_register_objectives(register):
    """Register the distillation objectives."""
    register("byol", f"{_HOME}.byol:BYOL", summary="predict a slow teacher's features of the other view")
    register("simsiam", f"{_HOME}.simsiam:SimSiam", summary="predict one's own features of the other view")
    register("dino", f"{_HOME}.dino:DINO", summary="match a teacher's prototypes across large and small views")
    register("ibot", f"{_HOME}.ibot:IBOT", summary="DINO, and the teacher's prototypes of hidden tokens")
    register("dinov2", f"{_HOME}.dinov2:DINOv2", summary="iBOT with balanced targets, two heads and spread features")
