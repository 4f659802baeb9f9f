"""The conformance kit over everything that the plugin registers, and what a registration may cost."""

import subprocess
import sys
from unittest import SkipTest

from sensorium.extensions import load_extensions
from sensorium.modalities.molecule.samples import molecules
from sensorium.testing import checks_of


def test_everything_conforms(tmp_path):
    (tmp_path / "some.smi").write_text("\n".join(molecules()))
    ran = 0
    for check in checks_of(
        "molecule", load_extensions({}, []), options={"sources/molecules": {"path": str(tmp_path / "some.smi")}}
    ):
        try:
            check()
            ran += 1
        except SkipTest:
            continue
        except Exception as error:
            raise AssertionError(str(check)) from error
    assert ran > 40


def test_registration_imports_nothing_heavy():
    heavy = "torch", "numpy", "PIL", "pyarrow", "rdkit", "torch_geometric"
    code = f"import sys, sensorium.modalities.molecule; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert out.stdout.strip() == "[]"
