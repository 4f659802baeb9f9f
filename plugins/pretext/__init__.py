"""Pretext objectives: supervised tasks whose targets come from the data itself."""

from sensorium import hookimpl

sensorium_matrix = {"objectives/predict:color": {"balance": 0.5}, "objectives/predict:jigsaw": {"width": 256}}


@hookimpl
def sensorium_register_objectives(register):
    """Register the pretext objectives."""
    register(
        "next-token",
        "sensorium.plugins.pretext.next_token:NextToken",
        summary="predict each token from those before it, as language models",
    )
    register(
        "masked-token",
        "sensorium.plugins.pretext.masked_token:MaskedToken",
        summary="masked language modeling, as BERT",
    )
    register(
        "predict",
        "sensorium.plugins.pretext.predict:Predict",
        summary="classify what a view generator did: rotation, jigsaw, order, color",
    )
