"""Registration costs nothing; the encoder whose name other modalities have too is checked with its own options."""

import pytest

from sensorium.registration.discovery import load_extensions
from sensorium.testing import check_plugin
from tests.conformance import heavy_imports


def test_the_encoder_of_transformers_conforms():
    pytest.importorskip("transformers")
    rows = list(check_plugin("text", load_extensions({}, []), only="text/transformers"))
    assert {row.name: row.reason for row in rows if row.status == "failed"} == {}
    assert sum(row.status == "passed" for row in rows) > 15


def test_registration_imports_nothing_heavy():
    assert heavy_imports("sensorium.modalities.text", ("torch", "transformers", "open_clip", "numpy")) == []
