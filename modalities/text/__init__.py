"""Text: captions, sentences, corpora."""

from sensorium import hookimpl

_HOME = "sensorium.modalities.text"

sensorium_samples = {
    "text": [
        "a red apple on a white plate",
        "two dogs run along the beach",
        "the old man reads a newspaper",
        "rain falls on the roof of the train station",
        "she plays the violin in the evening",
        "a cup of tea, please",
        "snow covers the mountains in winter",
        "the ship leaves the harbour at dawn",
    ]
}

sensorium_matrix = {
    "columns/text": {
        "about": "3,200 names of emoji (Unicode CLDR) in eight languages of one alphabet, which is to be told",
        "data": {"source": "emoji-names", "batch": 64, "test": 0.3, "cache": "ram"},
        "modalities": {
            "text": {
                "modality": {"name": "text", "tokenizer": "characters", "length": 32},
                "views": ["noisy", {"name": "noisy", "views": 6}, "plain", {"name": "masked", "ratio": 0.4}, "order"],
                "encoders": [
                    {"name": "transformer", "width": 64, "depth": 2, "dropout": 0.0},
                    {"name": "transformer", "width": 64, "depth": 2, "dropout": 0.0, "causal": True},
                ],
            }
        },
        "evaluator": {"name": "knn", "label": "language"},
        "metric": "accuracy",
        "optimizer": {"lr": 1e-3},
        "steps": 1500,
    }
}


sensorium_options = {
    "encoders/open-clip-text": {"model": "ViT-S-32-alt", "modality": {"tokenizer": "open_clip:ViT-S-32-alt"}},
    "encoders/transformers": f"{_HOME}.samples:tiny_transformer",
    "sources/corpus": f"{_HOME}.samples:corpus",
}


@hookimpl
def sensorium_register_modalities(register):
    """Register the modality."""
    register("text", f"{_HOME}.modality:TextModality", summary="captions, sentences and longer texts, as token ids")


@hookimpl
def sensorium_register_encoders(register):
    """Register the encoders."""
    register(
        "transformer",
        f"{_HOME}.encoders.transformer:Transformer",
        modality="text",
        summary="pre-norm transformer, causal or looking both ways",
    )
    register(
        "open-clip-text",
        f"{_HOME}.encoders.open_clip_text:OpenClipText",
        modality="text",
        summary="the text tower of any open_clip architecture",
    )
    register(
        "transformers",
        f"{_HOME}.encoders.transformers:TransformersModel",
        modality="text",
        summary="a Hugging Face model from a local folder or cache, frozen or tuned",
        requires=["transformers"],
        extra="text",
    )


@hookimpl
def sensorium_register_views(register):
    """Register the view generators."""
    home = f"{_HOME}.views"
    register("plain", f"{home}:Plain", modality="text", summary="the text itself")
    register("dropout", f"{home}:Dropout", modality="text", summary="copies, told apart by the encoder's dropout alone")
    register("masked", f"{home}:Masked", modality="text", summary="single tokens masked, to be restored")
    register("spans", f"{home}:Spans", modality="text", summary="runs of tokens masked, to be restored")
    register("deletion", f"{home}:Deletion", modality="text", summary="tokens left out at random")
    register("reorder", f"{home}:Reorder", modality="text", summary="tokens shuffled within a short distance")
    register("order", f"{home}:Order", modality="text", summary="segments in another order, to be told")
    register(
        "hard-captions",
        "sensorium.modalities.text.captions:HardCaptions",
        modality="text",
        summary="the text, and wrong forms of it: words exchanged, or taken from another",
    )
    register("noisy", f"{home}:Noisy", modality="text", summary="tokens left out, then shuffled nearby; two views")


@hookimpl
def sensorium_register_sources(register):
    """Register the source of plain text."""
    register("corpus", f"{_HOME}.corpus:Corpus", summary="plain text files, cut into windows without loss")
