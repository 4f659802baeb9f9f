"""Graphs of any size, with categorical and numeric features of nodes and edges.

Molecules are graphs too: their plugin registers `ENCODERS` and `VIEWS` for its own modality.
"""

from sensorium import hookimpl

_HOME = "sensorium.modalities.graph"
_GENERATORS = f"{_HOME}.views.generators"

ENCODERS = {
    "gin": (f"{_HOME}.encoders.gin:GIN", "graph isomorphism network (GIN), without edge features"),
    "gine": (f"{_HOME}.encoders.gin:GINE", "graph isomorphism network with edge features (GINE)"),
    "gcn": (f"{_HOME}.encoders.gcn:GCN", "graph convolutional network (GCN), without edge features"),
    "gat": (f"{_HOME}.encoders.gat:GAT", "graph attention network (GAT), with edge features"),
    "dmpnn": (f"{_HOME}.encoders.dmpnn:DMPNN", "directed message passing network (D-MPNN), with edge features"),
    "gps": (
        f"{_HOME}.encoders.gps:GPS",
        "GPS graph transformer: message passing and global attention, with edge features",
    ),
}
"""Encoders of `GraphBatch` by name: target and summary. Their modality has a `schema`."""
VIEWS = {
    "plain": (f"{_GENERATORS}:Plain", "the graph without augmentation"),
    "augment": (f"{_GENERATORS}:Augment", "one of GraphCL's four augmentations, drawn for each graph"),
    "node-dropping": (f"{_GENERATORS}:NodeDropping", "node dropping (GraphCL)"),
    "edge-perturbation": (f"{_GENERATORS}:EdgePerturbation", "edges dropped and added (GraphCL)"),
    "feature-masking": (f"{_GENERATORS}:FeatureMasking", "masked node features (GraphCL, GRACE)"),
    "grace": (f"{_GENERATORS}:Grace", "edge dropping and feature masking, as in GRACE and BGRL"),
    "subgraph": (f"{_GENERATORS}:Subgraph", "random-walk subgraph (GraphCL)"),
    "ego-net": (f"{_GENERATORS}:EgoNet", "k-hop neighborhood of one node"),
    "context-graph": (f"{_GENERATORS}:ContextGraph", "k-hop neighborhood and its context graph (context prediction)"),
    "ppr-diffusion": (f"{_GENERATORS}:PPRDiffusion", "the graph and its personalized PageRank diffusion (MVGRL)"),
    "attribute-masking": (f"{_GENERATORS}:AttributeMasking", "masked nodes whose category is the target"),
    "feature-shuffling": (
        f"{_GENERATORS}:FeatureShuffling",
        "the graph, and the same with permuted node features (DGI)",
    ),
}
"""View generators of `GraphBatch`, likewise."""

sensorium_samples = {"graph": f"{_HOME}.samples:graphs"}
sensorium_options = {"sources/stochastic-blocks": {"nodes": 2000}}
sensorium_matrix = {
    "columns/graph": {
        "description": "neighborhoods of 2,000 nodes of a stochastic block model; the label is one of ten blocks",
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
                    "attribute-masking",
                    "feature-shuffling",
                    "context-graph",
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
    register(
        "graph",
        f"{_HOME}.modality:GraphModality",
        summary="graphs with categorical and numeric features of nodes and edges",
    )


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
    register(
        "tu",
        f"{home}.tu:TU",
        summary="data sets in the format of the TU collection (TUDataset): a folder or a zip file",
    )
    register("graph-tables", f"{home}.tables:GraphTables", summary="many graphs from tables of edges, nodes and graphs")
    register(
        "nodes",
        f"{home}.neighborhoods:Nodes",
        summary="the nodes of one large graph, each with its sampled neighborhood",
    )
    register(
        "karate",
        f"{home}.neighborhoods:Karate",
        summary="the nodes of Zachary's karate club, each with its neighborhood",
    )
    register(
        "stochastic-blocks",
        f"{home}.neighborhoods:StochasticBlocks",
        summary="the nodes of a stochastic block model, each with its sampled neighborhood",
    )
