"""Graphs: of any size, with classes and numbers on nodes and edges.

Molecules are graphs too: their plugin registers `ENCODERS` and `VIEWS` for its own modality.
"""

from sensorium import hookimpl

_HOME = "sensorium.modalities.graph"

ENCODERS = {
    "gin": (f"{_HOME}.encoders.gin:GIN", "graph isomorphism network"),
}
"""Encoders of `GraphBatch`, by name: where they are, and one line on them. Their modality has a `schema`."""
VIEWS = {
    "plain": (f"{_HOME}.views.plain:Plain", "the graph itself"),
}
"""View generators of `GraphBatch`, likewise."""

sensorium_samples = {"graph": f"{_HOME}.samples:graphs"}


@hookimpl
def sensorium_register_modalities(register):
    """Register the modality."""
    register("graph", f"{_HOME}.modality:GraphModality", summary="graphs with classes and numbers on nodes and edges")


@hookimpl
def sensorium_register_encoders(register):
    """Register the encoders."""
    for name, (target, summary) in ENCODERS.items():
        register(name, target, summary=summary, modality="graph")


@hookimpl
def sensorium_register_views(register):
    """Register the view generators."""
    for name, (target, summary) in VIEWS.items():
        register(name, target, summary=summary, modality="graph")
