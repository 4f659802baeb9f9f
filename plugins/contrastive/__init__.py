"""Contrastive objectives: views of one record attract, views of others repel."""

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


@hookimpl
def sensorium_register_objectives(register):
    """Register the contrastive objectives."""
    register("simclr", f"{_HOME}.simclr:SimCLR", summary="contrast two views of each record")
    register(
        "supervised-contrastive",
        f"{_HOME}.supervised:SupervisedContrastive",
        summary="contrast in which all records of one label are positives",
    )
    register("simcse", f"{_HOME}.simcse:SimCSE", summary="contrast a record with itself under another dropout mask")
    register("moco", f"{_HOME}.moco:MoCo", summary="contrast with a slow teacher's keys, those of earlier batches too")
    register("moco-v3", f"{_HOME}.moco_v3:MoCoV3", summary="contrast predictions with a slow teacher's keys")
    register("nnclr", f"{_HOME}.nnclr:NNCLR", summary="contrast the nearest earlier record with the other view")
    register("ts2vec", f"{_HOME}.ts2vec:TS2Vec", summary="contrast aligned tokens of two views, scale after scale")
    register("ts-tcc", f"{_HOME}.ts_tcc:TSTCC", summary="guess one view's next tokens from the other's past")
