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
        "description": "3,200 names of emoji (Unicode CLDR) in eight languages of one alphabet, the label",
        "data": {"source": "emoji-names", "batch": 64, "test": 0.3, "cache": "ram"},
        "modalities": {
            "text": {
                "modality": {"name": "text", "tokenizer": "characters", "length": 32},
                "views": [
                    "noisy",
                    {"name": "noisy", "views": 6},
                    "plain",
                    {"name": "random-token-mask", "mask_ratio": 0.4},
                    "permutation",
                ],
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
    "tokenizers/transformers": f"{_HOME}.samples:tiny_tokenizer",
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
        summary="pre-norm transformer, bidirectional or causal",
    )
    register(
        "open-clip-text",
        f"{_HOME}.encoders.open_clip_text:OpenClipText",
        modality="text",
        summary="text tower of any open_clip architecture",
    )
    register(
        "transformers",
        f"{_HOME}.encoders.transformers:TransformersModel",
        modality="text",
        summary="text model of Hugging Face transformers, from a local folder or cache",
        requires=["transformers"],
        extra="text",
    )


@hookimpl
def sensorium_register_views(register):
    """Register the view generators."""
    views = {
        "plain": ("PlainViews", "the text without augmentation"),
        "dropout": ("DropoutViews", "identical copies, which differ by the encoder's dropout mask, as in SimCSE"),
        "random-token-mask": ("RandomTokenMaskViews", "random masked tokens, which are the target, as in BERT"),
        "span-mask": ("SpanMaskViews", "masked spans of tokens, which are the target, as in SpanBERT"),
        "deletion": ("DeletionViews", "random token deletion"),
        "local-shuffle": ("LocalShuffleViews", "tokens permuted within a short distance"),
        "noisy": ("NoisyViews", "token deletion, then local shuffle"),
        "permutation": ("PermutationViews", "permuted segments, with the permutation as target"),
    }
    for name, (target, summary) in views.items():
        register(name, f"{_HOME}.views:{target}", modality="text", summary=summary)
    register(
        "hard-negative-captions",
        f"{_HOME}.hard_negative_captions:HardNegativeCaptionViews",
        modality="text",
        summary="the text and corrupted captions: tokens swapped or replaced, as in NegCLIP",
    )


@hookimpl
def sensorium_register_sources(register):
    """Register the source of plain text files."""
    register("corpus", f"{_HOME}.corpus:Corpus", summary="plain text files, split into windows, lines or paragraphs")


@hookimpl
def sensorium_register_tokenizers(register):
    """Register the tokenizers."""
    home = f"{_HOME}.tokenizers"
    register("bpe", f"{home}:BytePairTokenizer", summary="byte-level byte-pair encoding, trained on the train part")
    register("characters", f"{home}:CharacterTokenizer", summary="the characters of the train part")
    register("open_clip", f"{home}:OpenClipTokenizer", summary="that of an open_clip architecture")
    register(
        "transformers",
        f"{home}:TransformersTokenizer",
        summary="that of a Hugging Face model, from a local folder or cache",
        requires=["transformers"],
        extra="text",
    )
