"""Masked modeling objectives: some tokens of a record are masked, and predicted from the visible ones."""

from sensorium import hookimpl

sensorium_matrix = {
    "objectives/mae": {"width": 96, "depth": 1},
    "objectives/multimae": {"width": 96, "depth": 1, "decoder_width": 96, "decoder_depth": 1},
}
"""Narrow decoders: what a few hundred steps on a thousand records can use."""

sensorium_options = {
    "objectives/mae": {"width": 32, "depth": 1},
    "objectives/multimae": {"width": 32, "depth": 1, "decoder_width": 32, "decoder_depth": 1},
}
"""The same for the records of the conformance kit."""


@hookimpl
def sensorium_register_objectives(register):
    """Register the masked modeling objectives."""
    home = "sensorium.plugins.masked"
    register("data2vec", f"{home}.data2vec:Data2Vec", summary="predict an EMA teacher's features of masked tokens")
    register(
        "graphmae",
        f"{home}.graphmae:GraphMAE",
        summary="masked autoencoder with a re-masked code and a scaled cosine error",
    )
    register("mae", f"{home}.mae:MAE", summary="masked autoencoder: encode visible tokens, reconstruct masked ones")
    register(
        "multimae",
        f"{home}.multimae:MultiMAE",
        summary="one trunk over the visible tokens of all modalities, from which each is predicted",
    )
    register("simmim", f"{home}.simmim:SimMIM", summary="encode mask tokens too, reconstruct masked tokens linearly")
    register(
        "wav2vec2",
        f"{home}.wav2vec2:Wav2Vec2",
        summary="wav2vec 2.0: contrast masked tokens' quantized targets with distractors",
    )
