"""Registers the sources of files, tables and arrays."""

from sensorium import hookimpl


@hookimpl
def sensorium_register_sources(register):
    """Register the built-in sources."""
    register(
        "folder",
        "sensorium.data.folder:FolderSource",
        summary="files in class folders, or with captions in .txt files beside them",
    )
    register("table", "sensorium.data.table:TableSource", summary="rows of CSV, TSV, JSONL or Parquet files")
    register("arrays", "sensorium.data.arrays:ArraysSource", summary="arrays and lists in memory (from Python)")
