"""Export of image encoders to timm."""

from sensorium import hookimpl


@hookimpl
def sensorium_register_exporters(register):
    """Register the exporter."""
    register(
        "timm",
        "sensorium.plugins.timm.export:Timm",
        summary="a folder that timm loads as local-dir:PATH",
    )
