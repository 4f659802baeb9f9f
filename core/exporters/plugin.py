"""The built-in exporter."""

from sensorium import hookimpl


@hookimpl
def sensorium_register_exporters(register):
    """Register the exporter of plain encoders."""
    register(
        "encoders",
        "sensorium.exporters.encoders:EncoderFiles",
        summary="encoders as safetensors, for `sensorium.load_encoder`",
    )
