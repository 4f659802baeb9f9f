"""Contrastive objectives: views of one record are positives, views of other records negatives."""

from sensorium import hookimpl

_HOME = "sensorium.plugins.contrastive"

sensorium_matrix = {
    "objectives/simclr": {"width": 256},
    "objectives/moco": {"queue": 512, "width": 256},
    "objectives/moco-v3": {"width": 256},
    "objectives/nnclr": {"queue": 512, "width": 256},
    "objectives/decoupled": {"name": "simclr", "width": 256, "negatives": {"alpha": 0.0}},
    "objectives/hcl": {"name": "simclr", "width": 256, "temperature": 0.5, "negatives": {"beta": 1.0, "prior": 0.1}},
}
"""Narrow heads and short queues: what a few hundred steps on a thousand records can use."""

sensorium_options = {
    "objectives/simclr": {"width": 64},
    "objectives/supervised-contrastive": {"width": 64},
    "objectives/moco": {"queue": 64, "width": 64},
    "objectives/moco-v3": {"width": 64, "dim": 32},
    "objectives/nnclr": {"queue": 64, "width": 64, "dim": 32},
}
"""The same for the records of the conformance kit."""


@hookimpl
def sensorium_register_objectives(register):
    """Register the contrastive objectives."""
    register("simclr", f"{_HOME}.simclr:SimCLR", summary="NT-Xent between two views of each record")
    register(
        "supervised-contrastive",
        f"{_HOME}.supervised:SupervisedContrastive",
        summary="contrastive learning with all records of a label as positives (SupCon)",
    )
    register("simcse", f"{_HOME}.simcse:SimCSE", summary="InfoNCE between two dropout masks of a record")
    register("moco", f"{_HOME}.moco:MoCo", summary="momentum contrast with a queue of keys (v2)")
    register("moco-v3", f"{_HOME}.moco_v3:MoCoV3", summary="momentum contrast without a queue, with a prediction head")
    register("nnclr", f"{_HOME}.nnclr:NNCLR", summary="contrast nearest neighbors in a queue with the other view")
    register("ts2vec", f"{_HOME}.ts2vec:TS2Vec", summary="hierarchical contrast of aligned time steps of two views")
    register("ts-tcc", f"{_HOME}.ts_tcc:TSTCC", summary="temporal and contextual contrast of time series")
