"""Every built-in plugin holds to the contracts: the kit's own checks, run on what is shipped."""

import pytest

from sensorium.registration.discovery import BUILTINS, load_extensions
from tests.conformance import passed

EXTENSIONS = load_extensions({}, [])
KINDS = ("modalities", "encoders", "views", "objectives", "sources", "evaluators")
CHECKED = sorted({spec.plugin for kind in KINDS for spec in EXTENSIONS.registry.specs(kind)})
READ_FILES = {
    "arrays",
    "folder",
    "graph-tables",
    "molecules",
    "nodes",
    "series",
    "series-table",
    "spectra",
    "table",
    "tu",
}
"""Sources that need files, or values, of their users' making; their own tests make some."""


def test_parts_are_brought_by_built_in_plugins():
    assert set(CHECKED) <= set(BUILTINS)


@pytest.mark.parametrize("name", CHECKED)
def test_built_in_plugins_conform(name):
    assert passed(name, besides=[f"source {source} " for source in READ_FILES])
