"""The conformance kit over everything that the plugin registers, and what a registration may cost."""

import subprocess
import sys
from unittest import SkipTest

import pytest

from sensorium.extensions import load_extensions
from sensorium.testing import checks_of

OPTIONS = {
    "encoders/conv": {"width": 8, "dim": 32},
    "encoders/spectrogram-transformer": {"width": 16, "heads": 2, "depth": 2},
    "encoders/wav2vec2": {"width": 32, "heads": 2, "depth": 1, "features": 16},
}
RANDOM = {
    **OPTIONS,
    "modalities/audio": {"seconds": 0.2, "pieces": "random", "channels": 1, "mels": 32, "level": "record"},
    "encoders/conv": {"width": 8, "dim": 16, "halve": "stride", "parts": 3},
    "views/waveform": {"shift": 0.3, "crop": 0.1},
    "views/spectrogram": {"noise": (0.0, 20.0), "equaliser": 0.5, "bands": 0.3, "frames": 0.3, "canvas": (1.2, 1.2)},
}


@pytest.mark.parametrize("options", [OPTIONS, RANDOM], ids=["defaults", "random-pieces"])
def test_everything_conforms(options):
    ran = 0
    for check in checks_of("audio", load_extensions({}, []), options=options):
        try:
            check()
            ran += 1
        except SkipTest:
            continue
        except Exception as error:
            raise AssertionError(str(check)) from error
    assert ran > 70


def test_registration_imports_nothing_heavy():
    heavy = "torch", "torchaudio", "numpy", "PIL", "soundfile"
    code = f"import sys, sensorium.modalities.audio; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert out.stdout.strip() == "[]"
