"""Graphs: of any size, with classes and numbers on nodes and edges.

Molecules are graphs too: their plugin registers `ENCODERS` and `VIEWS` for its own modality.
"""

from sensorium import hookimpl

_HOME = "sensorium.modalities.graph"
_GENERATORS = f"{_HOME}.views.generators"

ENCODERS = {
    "gin": (f"{_HOME}.encoders.gin:GIN", "graph isomorphism network, edges bare"),
    "gine": (f"{_HOME}.encoders.gin:GINE", "graph isomorphism network that hears what edges carry"),
    "gcn": (f"{_HOME}.encoders.gcn:GCN", "graph convolutional network, edges bare"),
    "gat": (f"{_HOME}.encoders.gat:GAT", "graph attention network"),
    "gps": (f"{_HOME}.encoders.gps:GPS", "graph transformer: neighbors and attention side by side"),
}
"""Encoders of `GraphBatch`, by name: where they are, and one line on them. Their modality has a `schema`."""
VIEWS = {
    "plain": (f"{_GENERATORS}:Plain", "the graph itself"),
    "augment": (f"{_GENERATORS}:Augment", "one of four changes, drawn for each graph, as in GraphCL"),
    "node-drop": (f"{_GENERATORS}:NodeDrop", "graphs without some of their nodes"),
    "edges": (f"{_GENERATORS}:Edges", "graphs without some edges, and with some new ones"),
    "feature-mask": (f"{_GENERATORS}:FeatureMask", "what some nodes carry, or some columns, hidden"),
    "edges-and-features": (f"{_GENERATORS}:EdgesAndFeatures", "edges and columns left out, as in GRACE and BGRL"),
    "walk": (f"{_GENERATORS}:Walk", "what random walks from one node meet"),
    "hops": (f"{_GENERATORS}:Hops", "what lies around one node"),
    "surroundings": (f"{_GENERATORS}:Surroundings", "what lies near a node, and what lies around that"),
    "diffusion": (f"{_GENERATORS}:Diffusion", "the graph, and its nodes joined by PageRank, as in MVGRL"),
    "attribute-mask": (f"{_GENERATORS}:AttributeMask", "what some nodes are, hidden and to be told"),
    "shuffled": (f"{_GENERATORS}:Shuffled", "the graph, and one whose nodes swapped what they carry, as in DGI"),
}
"""View generators of `GraphBatch`, likewise."""

sensorium_samples = {"graph": f"{_HOME}.samples:graphs"}
sensorium_matrix = {
    "columns/graph": {
        "about": "neighborhoods of 2,000 nodes of a computed graph of ten blocks, which are to be told",
        "data": {
            "source": {"name": "stochastic-blocks", "nodes": 2000},
            "batch": 64,
            "test": 0.3,
            "cache": "ram",
        },
        "modalities": {
            "graph": {
                "views": [
                    "augment",
                    "plain",
                    "attribute-mask",
                    "shuffled",
                    "surroundings",
                ],
                "encoders": [{"name": "gin", "width": 64}, {"name": "gat", "width": 64}],
            }
        },
        "evaluator": {"name": "knn", "label": "class"},
        "metric": "accuracy",
        "optimizer": {"lr": 1e-3},
    }
}


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


@hookimpl
def sensorium_register_sources(register):
    """Register the sources."""
    home = f"{_HOME}.sources"
    register("tu", f"{home}.tu:TU", summary="data sets in the format of the TU collection: a folder or a zip file")
    register(
        "graph-tables", f"{home}.tables:GraphTables", summary="many graphs out of tables of edges, nodes and graphs"
    )
    register("nodes", f"{home}.neighborhoods:Nodes", summary="the nodes of one large graph, each with its neighborhood")
    register("karate", f"{home}.neighborhoods:Karate", summary="the karate club's members, each with its neighborhood")
    register(
        "stochastic-blocks",
        f"{home}.neighborhoods:StochasticBlocks",
        summary="nodes of a made graph of classes, each with its neighborhood",
    )
