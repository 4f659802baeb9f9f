"""Masked objectives: some tokens of a record are hidden, and guessed from the others."""

from sensorium import hookimpl


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
