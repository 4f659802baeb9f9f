"""Pretext objectives: a task made out of the data itself, whose answer is known."""

from sensorium import hookimpl

sensorium_matrix = {"objectives/predict:color": {"balance": 0.5}, "objectives/predict:jigsaw": {"width": 256}}


@hookimpl
def sensorium_register_objectives(register):
    """Register the pretext objectives."""
    register(
        "next-token",
        "sensorium.plugins.pretext.next_token:NextToken",
        summary="predict each token from those before it, under a causal encoder",
    )
    register(
        "masked-token",
        "sensorium.plugins.pretext.masked_token:MaskedToken",
        summary="predict the tokens that a view hides, as BERT does",
    )
    register(
        "predict",
        "sensorium.plugins.pretext.predict:Predict",
        summary="tell what a view generator did: rotation, jigsaw, order",
    )
