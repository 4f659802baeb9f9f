"""Self-distillation objectives: a student predicts what an EMA teacher, or it itself, makes of another view."""

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

_TOY_HEADS = {"prototypes": 32, "width": 64, "bottleneck": 16}
sensorium_options = {
    "objectives/byol": {"width": 64, "dim": 32},
    "objectives/simsiam": {"width": 64, "bottleneck": 16},
    "objectives/dino": _TOY_HEADS,
    "objectives/ibot": _TOY_HEADS,
    "objectives/dinov2": [_TOY_HEADS, _TOY_HEADS | {"gram": {"start": 0.0, "refresh": 0.2}}],
}
"""The same for the records of the conformance kit."""


@hookimpl
def sensorium_register_objectives(register):
    """Register the self-distillation objectives."""
    register("byol", f"{_HOME}.byol:BYOL", summary="predict an EMA teacher's projection of the other view")
    register("simsiam", f"{_HOME}.simsiam:SimSiam", summary="predict the other view's projection, with a stop-gradient")
    register("dino", f"{_HOME}.dino:DINO", summary="self-distillation with prototypes across global and local views")
    register("ibot", f"{_HOME}.ibot:IBOT", summary="DINO and masked token prediction, with one head")
    register("dinov2", f"{_HOME}.dinov2:DINOv2", summary="iBOT with untied heads, Sinkhorn-Knopp centering and KoLeo")
