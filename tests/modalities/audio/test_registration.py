"""The conformance kit over everything that the plugin registers, and what a registration may cost."""

import pytest

from tests.conformance import heavy_imports, passed
from tests.docs.materials import wav2vec2

OPTIONS = {
    "encoders/conv": {"width": 8, "dim": 32},
    "encoders/spectrogram-transformer": {"width": 16, "heads": 2, "depth": 2},
    "encoders/wav2vec2": {"width": 32, "heads": 2, "depth": 1, "features": 16},
}
RANDOM = {
    **OPTIONS,
    "modalities/audio": {"seconds": 0.2, "piece": "random", "channels": 1, "n_mels": 32, "normalize": "record"},
    "encoders/conv": {"width": 8, "dim": 16, "downsample": "stride", "parts": 3},
    "views/waveform": {"shift": 0.3, "crop": 0.1},
    "views/spectrogram": {
        "noise": (0.0, 20.0),
        "equalizer": 0.5,
        "freq_mask": 0.3,
        "time_mask": 0.3,
        "virtual_crop_scale": (1.2, 1.2),
    },
}


@pytest.mark.parametrize("options", [OPTIONS, RANDOM], ids=["defaults", "random-segments"])
def test_everything_conforms(options, tmp_path):
    wav2vec2(tmp_path / "wav2vec2")
    pretrained = {"encoders/transformers": {"model": str(tmp_path / "wav2vec2")}}
    assert passed("audio", options | pretrained) > 90


def test_registration_imports_nothing_heavy():
    heavy = "torch", "torchaudio", "numpy", "PIL", "soundfile"
    assert heavy_imports("sensorium.modalities.audio", heavy) == []
