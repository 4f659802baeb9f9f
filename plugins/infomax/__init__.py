"""Objectives of mutual information: what belongs together is told from what does not."""

from sensorium import hookimpl

_HOME = "sensorium.plugins.infomax"


@hookimpl
def sensorium_register_objectives(register):
    """Register the objectives of mutual information."""
    register("infograph", f"{_HOME}.infograph:InfoGraph", summary="tell a record's tokens from those of other records")
    register("dgi", f"{_HOME}.dgi:DGI", summary="tell records from corrupted ones by a summary of the batch")
    register(
        "context-prediction",
        f"{_HOME}.context_prediction:ContextPrediction",
        summary="tell what surrounds a record from what surrounds another",
    )
