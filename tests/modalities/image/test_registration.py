"""Registration costs nothing and every target exists."""

import pytest

from sensorium.modalities import image
from sensorium.registration.registry import Register
from tests.conformance import heavy_imports


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
    assert heavy_imports("sensorium.modalities.image", heavy) == []
