"""Masked objectives: some tokens of a record are hidden, and guessed from the others."""

from sensorium import hookimpl

sensorium_matrix = {
    "objectives/mae": {"width": 96, "depth": 1},
}
"""Narrow heads: what a few hundred steps on a thousand records can use."""


@hookimpl
def sensorium_register_objectives(register):
    """Register the masked objectives."""
    home = "sensorium.plugins.masked"
    register("data2vec", f"{home}.data2vec:Data2Vec", summary="guess a teacher's features of hidden tokens")
    register(
        "graphmae", f"{home}.graphmae:GraphMAE", summary="guess hidden tokens by the cosine, their code hidden too"
    )
    register("mae", f"{home}.mae:MAE", summary="encode the visible tokens alone, reconstruct the hidden ones")
    register("simmim", f"{home}.simmim:SimMIM", summary="put mask tokens in, reconstruct what they hide")
    register(
        "wav2vec2",
        f"{home}.wav2vec2:Wav2Vec2",
        summary="tell the quantized content of hidden tokens from that of others, as in wav2vec 2.0",
    )
