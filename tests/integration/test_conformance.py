"""Every built-in plugin holds to the contracts: the kit's own checks, run on what is shipped."""

from pathlib import Path

import pytest

from sensorium.registration.discovery import BUILTINS, load_extensions
from tests.conformance import passed

ROOT = Path(__file__).parents[2]
EXTENSIONS = load_extensions({}, [])
KINDS = ("modalities", "encoders", "views", "objectives", "sources", "evaluators", "exporters", "recipes", "commands")
CHECKED = sorted({spec.plugin for kind in KINDS for spec in EXTENSIONS.registry.specs(kind)})
READ_FILES = {"arrays", "folder", "table", "hf", "lance", "parquet", "webdataset"}
"""Sources that need files, or values, of their users' making; their own tests make some."""
ELSEWHERE = {name: f"modalities/{name}" for name in ("audio", "graph", "molecule", "timeseries")} | {
    "exporters": "core/exporters"
}
"""Plugins that are checked whole by FOLDER/test_registration.py, which make files for their sources, or take longer."""


def test_parts_are_brought_by_built_in_plugins():
    assert set(CHECKED) <= set(BUILTINS)
    for name, folder in ELSEWHERE.items():
        checks = (ROOT / "tests" / folder / "test_registration.py").read_text(encoding="utf-8")
        assert f'passed("{name}"' in checks


@pytest.mark.parametrize("name", [name for name in CHECKED if name not in ELSEWHERE])
def test_built_in_plugins_conform(name):
    assert passed(name, besides=[f"source {source} " for source in READ_FILES])
