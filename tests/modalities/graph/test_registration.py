"""The conformance kit over everything that the plugin registers; registration imports nothing heavy."""

from tests.conformance import heavy_imports, passed
from tests.modalities.graph.sources.files import write_edge_tables, write_node_tables, write_tu


def options(tmp):
    return {
        "sources/tu": {"path": str(write_tu(tmp))},
        "sources/graph-tables": write_edge_tables(tmp),
        "sources/nodes": write_node_tables(tmp),
        "sources/stochastic-blocks": {"nodes": 60, "classes": 3},
        "encoders/gps": {"width": 16, "heads": 2, "depth": 1},
    }


def test_everything_conforms(tmp_path):
    assert passed("graph", options(tmp_path)) > 150


def test_registration_imports_nothing_heavy():
    heavy = "torch", "numpy", "PIL", "pyarrow", "torch_geometric", "networkx"
    assert heavy_imports("sensorium.modalities.graph", heavy) == []
