"""Cross-modal contrastive objectives: a joint embedding space of two or more modalities."""

from sensorium import hookimpl

_HOME = "sensorium.plugins.crossmodal"

sensorium_matrix = {"objectives/hn-clip": {"name": "clip", "negatives": {"beta": 0.25}}}
"""A row of the matrix beside those of the objectives."""


@hookimpl
def sensorium_register_objectives(register):
    """Register the cross-modal objectives."""
    register("align", f"{_HOME}.align:Align", summary="CLIP's loss on pairs of any number of modalities, as ImageBind")
    register("clip", f"{_HOME}.clip:CLIP", summary="symmetric InfoNCE between two modalities")
    register("siglip", f"{_HOME}.siglip:SigLIP", summary="sigmoid loss of every pair of two modalities")
    register("volume", f"{_HOME}.volume:Volume", summary="contrast of all modalities at once: GRAM, TRIANGLE, Symile")
    register("fastclip", f"{_HOME}.fastclip:FastCLIP", summary="CLIP for small batches: EMA normalizers of each record")
