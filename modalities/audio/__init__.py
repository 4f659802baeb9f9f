"""Audio: speech, music and other sounds, of any rate and length."""

from sensorium import hookimpl

_HOME = "sensorium.modalities.audio"
_NEEDS = {"requires": ["soundfile"], "extra": "audio"}

sensorium_samples = {"audio": f"{_HOME}.samples:sounds"}
sensorium_matrix = {
    "columns/audio": {
        "description": "640 computed notes of eight made-up instruments, any pitch: no wheel brings labeled recordings",
        "data": {"source": "notes", "batch": 64, "test": 0.3, "cache": "ram"},
        "modalities": {
            "audio": {
                "modality": {"name": "audio", "rate": 8000, "seconds": 0.6, "mels": 32, "hop": 20.0},
                "views": ["spectrogram", {"name": "spectrogram", "views": 6}, "plain", "permutation"],
                "encoders": [
                    {"name": "conv", "width": 16, "dim": 256},
                    {"name": "spectrogram-transformer", "width": 64, "depth": 2, "heads": 2},
                ],
            }
        },
        "evaluator": {"name": "knn", "label": "instrument"},
        "metric": "accuracy",
        "optimizer": {"lr": 1e-3},
        "requires": ["soundfile"],
    }
}


@hookimpl
def sensorium_register_modalities(register):
    """Register the modality."""
    register(
        "audio",
        f"{_HOME}.modality:AudioModality",
        summary="sounds in every format that libsndfile reads (WAV, FLAC, OGG, MP3), and arrays",
        **_NEEDS,
    )


@hookimpl
def sensorium_register_encoders(register):
    """Register the encoders."""
    home = f"{_HOME}.encoders"
    register(
        "conv",
        f"{home}.conv:Conv",
        modality="audio",
        summary="convolutions over log-mels, as in BYOL-A",
        **_NEEDS,
    )
    register(
        "spectrogram-transformer",
        f"{home}.spectrogram_transformer:SpectrogramTransformer",
        modality="audio",
        summary="a transformer over patches of log-mels that shows its tokens",
        **_NEEDS,
    )
    register(
        "wav2vec2",
        f"{home}.wav2vec2:Wav2Vec2Encoder",
        modality="audio",
        summary="convolutions and a transformer over samples that shows its tokens, as in wav2vec 2.0",
        **_NEEDS,
    )


@hookimpl
def sensorium_register_views(register):
    """Register the view generators."""
    home = f"{_HOME}.views"
    register("plain", f"{home}.signals:Plain", modality="audio", summary="the sound itself", **_NEEDS)
    register(
        "waveform",
        f"{home}.generators:Waveform",
        modality="audio",
        summary="cut, moved, turned, louder or softer, and noisy waveforms",
        **_NEEDS,
    )
    register(
        "spectrogram",
        f"{home}.generators:Spectrogram",
        modality="audio",
        summary="cut, mixed, stretched and faded log-mels, as in BYOL-A",
        **_NEEDS,
    )
    register(
        "permutation",
        f"{home}.signals:Permutation",
        modality="audio",
        summary="shuffled segments, whose order is to be told",
        **_NEEDS,
    )
