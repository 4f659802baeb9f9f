"""Export of runs to open_clip."""

from sensorium import hookimpl


@hookimpl
def sensorium_register_exporters(register):
    """Register the exporter."""
    register(
        "open-clip",
        "sensorium.plugins.openclip.export:OpenClip",
        summary="a folder that open_clip loads as local-dir:PATH",
    )
