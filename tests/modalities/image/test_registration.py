"""Registration costs nothing and every target exists."""

import subprocess
import sys

import pytest

from sensorium.modalities import image
from sensorium.registry import Register


def specs():
    for kind in ("modalities", "encoders", "views"):
        register = Register(kind, "image", "sensorium")
        getattr(image, f"sensorium_register_{kind}")(register)
        yield from register.specs


@pytest.mark.parametrize("spec", list(specs()), ids=lambda spec: f"{spec.kind}-{spec.name}")
def test_targets_can_be_loaded(spec):
    assert spec.load().__doc__
    assert spec.modality == (None if spec.kind == "modalities" else "image")


def test_registration_imports_nothing_heavy():
    heavy = "torch", "numpy", "PIL", "timm", "open_clip"
    code = f"import sys, sensorium.modalities.image; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert out.stdout.strip() == "[]"
