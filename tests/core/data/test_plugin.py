import subprocess
import sys

from sensorium.registration.discovery import load_extensions

HEAVY = ("torch", "numpy", "pyarrow", "PIL")


def test_the_sources_are_registered_and_load():
    registry = load_extensions(found=[]).registry
    sources = {"folder": "FolderSource", "table": "TableSource", "arrays": "ArraysSource"}
    stores = {"parquet": "ParquetSource", "hf": "HFSource", "lance": "LanceSource", "webdataset": "WebDatasetSource"}
    for name, target in (sources | stores).items():
        assert registry.find("sources", name).load().__name__ == target


def test_registration_imports_nothing_heavy():
    code = (
        f"import sys, sensorium.data.plugin, sensorium.plugins.samples; print([m for m in {HEAVY} if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
