"""The same records in every store."""

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq

COUNT = 23
KINDS = ("ant", "bee", "cat")
STORES = ("parquet", "arrow", "hf", "lance", "webdataset")


def rows(start=0, stop=COUNT):
    """Return records as a table: pictures as bytes, one or two captions, a label, a group."""
    numbers = range(start, stop)
    return pa.table(
        {
            "id": [f"r{i:02}" for i in numbers],
            "image": pa.array([{"bytes": bytes([i]) * (i + 1), "path": None} for i in numbers]),
            "text": [[f"caption {i}", f"{i} é"] if i % 2 else [f"caption {i}"] for i in numbers],
            "kind": [KINDS[i % 3] for i in numbers],
            "group": [f"g{i // 4}" for i in numbers],
            "part": ["test" if i // 4 == 2 else "train" for i in numbers],
        }
    )


USES = {
    "columns": {"image": "image", "text": "text"},
    "id": "id",
    "labels": ["kind"],
    "group": "group",
    "split": "part",
}


def add(tar, name, data):
    """Add a member to a tar."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def write_tar(path, records):
    """Write records as a tar of WebDataset."""
    with tarfile.open(path, "w") as tar:
        for row in records.to_pylist():
            for number, caption in enumerate(row["text"]):
                add(tar, f"{row['id']}.{number}.txt", caption.encode())
            add(tar, f"{row['id']}.bin", row["image"]["bytes"])
            add(
                tar,
                f"{row['id']}.json",
                json.dumps({name: row[name] for name in ("id", "kind", "group", "part")}).encode(),
            )


def write_store(name, folder):
    """Write the records in two or three fragments; return the name of the source that reads them, and its options."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "parquet":
        pq.write_table(rows(0, 15), folder / "a.parquet", row_group_size=10)
        pq.write_table(rows(15), folder / "b.parquet")
        return "parquet", {"path": str(folder), **USES}
    if name == "arrow":
        with pa.OSFile(str(folder / "all.arrow"), "wb") as file, pa.ipc.new_file(file, rows().schema) as writer:
            writer.write_table(rows(), max_chunksize=9)
        return "parquet", {"path": str(folder / "all.arrow"), **USES}
    if name == "hf":
        import datasets

        datasets.disable_progress_bars()
        datasets.Dataset(rows()).save_to_disk(str(folder / "saved"))
        return "hf", {"path": str(folder / "saved"), **USES}
    if name == "lance":
        import lance

        lance.write_dataset(rows(), str(folder / "all.lance"), max_rows_per_file=10)
        return "lance", {"path": str(folder / "all.lance"), **USES}
    for number, start in enumerate(range(0, COUNT, 9)):
        write_tar(folder / f"part-{number}.tar", rows(start, min(start + 9, COUNT)))
    entries = {"id": "json.id", "labels": ["json.kind"], "group": "json.group", "split": "json.part"}
    return "webdataset", {
        "path": str(folder / "part-{0..2}.tar"),
        "columns": {"image": "bin", "text": "txt"},
        **entries,
    }
