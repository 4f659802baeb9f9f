"""Cross-modal objectives: what belongs together in two or more modalities meets in one space."""

from sensorium import hookimpl

sensorium_matrix = {"objectives/hn-clip": {"name": "clip", "negatives": {"beta": 0.25}}}
"""A row of the matrix beside those of the objectives."""


@hookimpl
def sensorium_register_objectives(register):
    """Register the cross-modal objectives."""
    register(
        "align",
        "sensorium.plugins.crossmodal.align:Align",
        summary="align any number of modalities along a graph of pairs",
    )
    register("clip", "sensorium.plugins.crossmodal.clip:CLIP", summary="align pairs of two modalities, both ways")
    register(
        "siglip", "sensorium.plugins.crossmodal.siglip:SigLIP", summary="align two modalities, every pair by itself"
    )
    register(
        "fastclip",
        "sensorium.plugins.crossmodal.fastclip:FastCLIP",
        summary="align pairs in small batches: normalizers run over the steps",
    )
