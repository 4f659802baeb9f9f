"""Contrastive objectives: views of one record attract, views of others repel."""

from sensorium import hookimpl


@hookimpl
def sensorium_register_objectives(register):
    """Register the contrastive objectives."""
    register("simclr", "sensorium.plugins.contrastive.simclr:SimCLR", summary="contrast two views of each record")
    register(
        "simcse",
        "sensorium.plugins.contrastive.simcse:SimCSE",
        summary="contrast a record with itself under another dropout mask",
    )
