"""The built-in exporters hold to the contract; those that trace a model take seconds."""

import pytest

from sensorium.registration.discovery import load_extensions
from tests.conformance import passed

TRACED = {"onnx", "torch-export"}
FORMATS = [spec.name for spec in load_extensions({}, []).registry.specs("exporters") if spec.plugin == "exporters"]


@pytest.mark.parametrize(
    "only",
    ["plugin exporters"]
    + [pytest.param(f"exporter {name} ", marks=[pytest.mark.slow] * (name in TRACED)) for name in FORMATS],
)
def test_built_in_exporters_conform(only):
    assert passed("exporters", only=only)
