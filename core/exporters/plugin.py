"""The built-in exporters."""

from sensorium import hookimpl


@hookimpl
def sensorium_register_exporters(register):
    """Register the exporters of encoders, of their graphs and of adapters."""
    register(
        "encoders",
        "sensorium.exporters.encoders:EncoderFiles",
        summary="encoders as safetensors, for `sensorium.load_encoder`",
    )
    register(
        "onnx",
        "sensorium.exporters.onnx:Onnx",
        summary="the graph of an encoder, for onnxruntime",
        requires=("onnx", "onnxscript", "onnxruntime"),
        extra="onnx",
    )
    register(
        "torch-export",
        "sensorium.exporters.torch_export:TorchExport",
        summary="the graph of an encoder, for torch.export.load",
    )
    register(
        "huggingface",
        "sensorium.exporters.huggingface:HuggingFace",
        summary="a folder that transformers opens by AutoModel",
        requires=("transformers",),
        extra="text",
    )
    register(
        "sentence-transformers",
        "sensorium.exporters.sentence_transformers:SentenceTransformers",
        summary="a text encoder as a folder of sentence-transformers",
        requires=("sentence_transformers",),
        extra="sentence-transformers",
    )
    register(
        "lora",
        "sensorium.exporters.lora:LoraAdapter",
        summary="the low-rank adapter of an encoder alone, for peft",
    )
