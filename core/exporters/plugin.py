"""The built-in exporters."""

from sensorium import hookimpl


@hookimpl
def sensorium_register_exporters(register):
    """Register the exporters of encoders and of adapters."""
    register(
        "encoders",
        "sensorium.exporters.encoders:EncoderFiles",
        summary="encoders as safetensors, for `sensorium.load_encoder`",
    )
    register(
        "lora",
        "sensorium.exporters.lora:LoraAdapter",
        summary="the low-rank adapter of an encoder alone, for peft",
    )
