"""Registers the sources of files, tables and arrays, and the splits."""

from sensorium import hookimpl

sensorium_options = {
    "splits/hold-out": {"by": "kind", "value": "a"},
    "splits/stratified": {"by": "kind"},
}


@hookimpl
def sensorium_register_sources(register):
    """Register the built-in sources."""
    register(
        "folder",
        "sensorium.data.folder:FolderSource",
        summary="files in class folders, or with captions in .txt files beside them",
    )
    register("table", "sensorium.data.table:TableSource", summary="rows of CSV, TSV, JSONL or Parquet files")
    register(
        "parquet",
        "sensorium.data.stores.parquet:ParquetSource",
        summary="rows of Parquet or Arrow files of any size, here or in object storage",
    )
    register(
        "hf",
        "sensorium.data.stores.hf:HFSource",
        summary="rows of a Hugging Face dataset",
        requires=["datasets"],
        extra="hf",
    )
    register(
        "lance",
        "sensorium.data.stores.lance:LanceSource",
        summary="rows of a Lance dataset, here or in object storage",
        requires=["lance"],
        extra="lance",
    )
    register(
        "webdataset",
        "sensorium.data.stores.webdataset:WebDatasetSource",
        summary="members of tars, as WebDataset writes them, here or in object storage",
    )
    register("arrays", "sensorium.data.arrays:ArraysSource", summary="arrays and lists in memory (from Python)")


@hookimpl
def sensorium_register_splits(register):
    """Register the built-in splits."""
    register(
        "random",
        "sensorium.data.splits.random_split:RandomSplit",
        summary="the parts that the source names, others drawn by a hash of group or id",
    )
    register(
        "hold-out",
        "sensorium.data.splits.random_split:HoldOut",
        summary="one value of a label is the test part, such as a speaker",
    )
    register("by-time", "sensorium.data.splits.by_time:ByTime", summary="the latest records are the test part")
    register(
        "stratified", "sensorium.data.splits.stratified:Stratified", summary="each class has its fraction in each part"
    )
