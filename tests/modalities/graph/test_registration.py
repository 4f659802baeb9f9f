"""The conformance kit over everything that the plugin registers, and what a registration may cost."""

import subprocess
import sys
from unittest import SkipTest

from sensorium.extensions import load_extensions
from sensorium.testing import checks_of
from tests.modalities.graph.sources.files import write_edge_tables, write_node_tables, write_tu


def checks(tmp):
    options = {
        "sources/tu": {"path": str(write_tu(tmp))},
        "sources/graph-tables": write_edge_tables(tmp),
        "sources/nodes": write_node_tables(tmp),
        "sources/stochastic-blocks": {"nodes": 60, "classes": 3},
        "encoders/gps": {"width": 16, "heads": 2, "depth": 1},
    }
    return checks_of("graph", load_extensions({}, []), options=options)


def test_everything_conforms(tmp_path):
    ran = 0
    for check in checks(tmp_path):
        try:
            check()
            ran += 1
        except SkipTest:
            continue
        except Exception as error:
            raise AssertionError(str(check)) from error
    assert ran > 150


def test_registration_imports_nothing_heavy():
    heavy = "torch", "numpy", "PIL", "pyarrow", "torch_geometric", "networkx"
    code = f"import sys, sensorium.modalities.graph; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert out.stdout.strip() == "[]"
