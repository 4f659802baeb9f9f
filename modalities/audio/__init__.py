"""Audio: speech, music and other audio clips, of any sample rate and length."""

from sensorium import hookimpl

_HOME = "sensorium.modalities.audio"
_NEEDS = {"requires": ["soundfile"], "extra": "audio"}

sensorium_samples = {"audio": f"{_HOME}.samples:sample_audio"}
sensorium_matrix = {
    "columns/audio": {
        "description": "640 synthetic notes of eight instruments, at any pitch; no package has labeled recordings",
        "data": {"source": "musical-notes", "batch": 64, "test": 0.3, "cache": "ram"},
        "modalities": {
            "audio": {
                "modality": {"name": "audio", "sample_rate": 8000, "seconds": 0.6, "n_mels": 32, "hop": 20.0},
                "views": ["spectrogram", {"name": "spectrogram", "views": 6}, "plain", "permutation"],
                "encoders": [
                    {"name": "conv", "width": 16, "dim": 256},
                    {"name": "spectrogram-transformer", "width": 64, "depth": 2, "heads": 2},
                    {"name": "spectrogram-transformer", "width": 64, "depth": 2, "heads": 2, "causal": True},
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
        summary="audio in every format that libsndfile reads (WAV, FLAC, OGG, MP3), and arrays",
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
        summary="convolutional network over log-mels, as in BYOL-A",
        **_NEEDS,
    )
    register(
        "spectrogram-transformer",
        f"{home}.spectrogram_transformer:SpectrogramTransformer",
        modality="audio",
        summary="audio spectrogram transformer (AST) over log-mel patches, with tokens",
        **_NEEDS,
    )
    register(
        "wav2vec2",
        f"{home}.wav2vec2:Wav2Vec2Encoder",
        modality="audio",
        summary="convolutional feature encoder and transformer over waveforms, as in wav2vec 2.0",
        **_NEEDS,
    )
    register(
        "transformers",
        f"{home}.transformers:TransformersAudio",
        modality="audio",
        summary="pretrained audio model of Hugging Face transformers (wav2vec 2.0, HuBERT, WavLM, AST), with tokens",
        requires=["soundfile", "transformers"],
        extra="audio,text",
    )


@hookimpl
def sensorium_register_views(register):
    """Register the view generators."""
    home = f"{_HOME}.views"
    register(
        "plain", f"{home}.signals:PlainViews", modality="audio", summary="the audio clip without augmentation", **_NEEDS
    )
    register(
        "waveform",
        f"{home}.generators:WaveformViews",
        modality="audio",
        summary="waveforms with random crop, time shift, polarity inversion, gain and noise",
        **_NEEDS,
    )
    register(
        "spectrogram",
        f"{home}.generators:SpectrogramViews",
        modality="audio",
        summary="log-mels with mixup, random resize crop and linear fader, as in BYOL-A",
        **_NEEDS,
    )
    register(
        "permutation",
        f"{home}.signals:PermutationViews",
        modality="audio",
        summary="permuted segments, with the permutation as target",
        **_NEEDS,
    )
