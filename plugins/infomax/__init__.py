"""Mutual information objectives: discriminate matching from non-matching parts of records."""

from sensorium import hookimpl

_HOME = "sensorium.plugins.infomax"


@hookimpl
def sensorium_register_objectives(register):
    """Register the mutual information objectives."""
    register("infograph", f"{_HOME}.infograph:InfoGraph", summary="mutual information between tokens and their record")
    register("dgi", f"{_HOME}.dgi:DGI", summary="deep graph infomax: discriminate nodes from corrupted ones")
    register(
        "context-prediction",
        f"{_HOME}.context_prediction:ContextPrediction",
        summary="match neighborhoods with their context graphs",
    )
