"""The conformance kit over everything that the plugin registers; registration imports nothing heavy."""

from sensorium.modalities.molecule.samples import molecules
from tests.conformance import heavy_imports, passed


def test_everything_conforms(tmp_path):
    (tmp_path / "some.smi").write_text("\n".join(molecules()))
    assert passed("molecule", {"sources/molecules": {"path": str(tmp_path / "some.smi")}}) > 40


def test_registration_imports_nothing_heavy():
    heavy = "torch", "numpy", "PIL", "pyarrow", "rdkit", "torch_geometric"
    assert heavy_imports("sensorium.modalities.molecule", heavy) == []
