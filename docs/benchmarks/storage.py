"""Records a second out of a folder, Parquet, Lance, tars and a cache, cold and warm, and how long a training waits.

    python docs/benchmarks/storage.py DATA --make --count 200000     # once: 200,000 JPEGs, in every store
    python docs/benchmarks/storage.py DATA                           # measures: DATA/storage.json, and the table

Images are drawn from seeds: smooth fields of color with noise, about 256 pixels a side, JPEG of quality 90. Every
measurement is a process of its own. Cold: the pages of all files are dropped from the system's cache before
(`posix_fadvise`). A rate is that of the loader of a training, 2 workers, from its first batch on, in which images are
decoded and resized to 224 pixels; `raw` is that of the store alone, its bytes read in batches of 256 and not decoded.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import sensorium
from sensorium.contracts import Source
from sensorium.data.loader import Loader
from sensorium.data.unreadable import UnreadableRecords
from sensorium.registration.discovery import load_extensions

PART, GROUP = 2_000, 200
"""Records of a file, and of a row group: about 5 MB."""
SIDES = (224, 289)
KINDS = 10
BATCH, TRAINED = 256, 64
"""Records of a batch: where rates are measured, and in the training that waits."""
STORES: dict[str, dict[str, Any]] = {
    "folder": {"name": "folder", "path": "{}/folder", "captions": None},
    "parquet": {"name": "parquet", "path": "{}/parquet", "columns": {"image": "image"}, "id": "id"},
    "lance": {"name": "lance", "path": "{}/all.lance", "columns": {"image": "image"}, "id": "id"},
    "tars": {"name": "webdataset", "path": "{}/tars", "columns": {"image": "jpg"}},
}
CASES = [
    *(
        (store, order, "off")
        for store in STORES
        for order in ("shuffled", "blocks")
        if (store, order) != ("folder", "blocks")
    ),
    ("folder", "shuffled", "disk"),
]


def image(number: int) -> bytes:
    """Return the JPEG of a number: four smooth waves of color, and noise."""
    rng = np.random.default_rng([7, number])
    height, width = rng.integers(*SIDES, size=2)
    y_HW, x_HW = np.mgrid[0:height, 0:width] / 256
    waves = rng.uniform(1, 12, (3, 4, 2))
    phases, sizes = rng.uniform(0, 6.3, (3, 4)), rng.uniform(0.1, 0.4, (3, 4))
    image_HWC = np.stack(
        [
            sum(size * np.sin(a * x_HW + b * y_HW + phase) for (a, b), phase, size in zip(*channel, strict=True))
            for channel in zip(waves, phases, sizes, strict=True)
        ],
        axis=-1,
    )
    image_HWC = 127 + 100 * image_HWC + rng.normal(0, 6, image_HWC.shape)
    out = io.BytesIO()
    Image.fromarray(np.clip(image_HWC, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def make_part(folder: Path, numbers: range) -> None:
    """Write some images to the folder, a Parquet file and a tar."""
    name = f"{numbers.start // PART:05}"
    jpegs = [image(number) for number in numbers]
    ids = [f"{number:09}" for number in numbers]
    for id, number, jpeg in zip(ids, numbers, jpegs, strict=True):
        path = folder / "folder" / f"k{number % KINDS}" / name / f"{id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg)
    files = [{"bytes": jpeg, "path": None} for jpeg in jpegs]
    table = pa.table({"id": ids, "image": files, "kind": [number % KINDS for number in numbers]})
    pq.write_table(
        table, folder / "parquet" / f"{name}.parquet", row_group_size=GROUP, compression="none", use_dictionary=False
    )
    with tarfile.open(folder / "tars" / f"{name}.tar", "w") as tar:
        for id, number, jpeg in zip(ids, numbers, jpegs, strict=True):
            for ending, data in (("jpg", jpeg), ("cls", str(number % KINDS).encode())):
                member = tarfile.TarInfo(f"{id}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def make(folder: Path, count: int) -> None:
    """Write all images in every store."""
    for name in ("folder", "parquet", "tars"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    parts = [range(start, min(start + PART, count)) for start in range(0, count, PART)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(make_part, [folder] * len(parts), parts))
    import lance  # not before processes are forked

    def batches() -> Iterator[pa.RecordBatch]:
        for path in sorted((folder / "parquet").glob("*.parquet")):
            for batch in pq.ParquetFile(path).iter_batches(GROUP):
                image = pa.array(batch.column("image").field("bytes").to_pylist(), pa.large_binary())
                yield pa.RecordBatch.from_arrays([batch.column("id"), image, batch.column("kind")], schema=schema)

    schema = pa.schema([("id", pa.string()), ("image", pa.large_binary()), ("kind", pa.int64())])
    reader = pa.RecordBatchReader.from_batches(schema, batches())
    lance.write_dataset(reader, str(folder / "all.lance"), mode="overwrite", max_rows_per_file=PART)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def drop(folder: Path) -> None:
    """Drop what the system has cached of all files below a folder."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def source_of(store: str, folder: Path) -> tuple[Source, dict[str, Any]]:
    """Return a store opened, and its options in a recipe."""
    options = STORES[store] | {"path": STORES[store]["path"].format(folder)}
    kind = load_extensions(found=[]).registry.find("sources", options["name"]).load()
    return kind(**{name: value for name, value in options.items() if name != "name"}), options


def order_of(order: str) -> Any:
    """Return an order as a recipe names it."""
    return {"name": "blocks", "window": 8} if order == "blocks" else order


def rates(store: str, order: str, cache: str, folder: Path, records: int, workers: int) -> dict[str, float]:
    """Return seconds to open a store, and records a second of its bytes alone and of the loader of a training."""
    start = time.perf_counter()
    source, _ = source_of(store, folder)
    opened = time.perf_counter() - start
    records = min(records, len(source))
    image = load_extensions(found=[]).registry.find("modalities", "image").load()(size=224)
    loader = Loader(
        source,
        np.arange(len(source) if cache == "off" else min(2 * records, len(source))),
        {"image": "image"},
        {"image": image},
        seed=0,
        batch=BATCH,
        bad=UnreadableRecords(len(source), 0.0),
        workers=workers,
        cache=cache,
        order=order,
        window=8 if order == "blocks" else None,
    )
    found = {"open_s": opened}
    if cache != "off":
        found["fill_s"] = timed(loader.prepare)
    steps = max(records // BATCH, 1)
    found["loaded"] = steps * BATCH / timed(lambda: [None for _ in loader.batches(0, steps)])
    if cache == "off":
        first = loader.order.positions(steps)  # behind what was just read
        raw = [source.read(np.sort(rows).tolist()) for rows in [first]]
        positions = [loader.order.positions(step) for step in range(steps, 2 * steps)]
        found["raw"] = len(positions) * len(raw[0]) / timed(lambda: [source.read(rows.tolist()) for rows in positions])
    return found


def timed(work: Callable[[], Any]) -> float:
    """Return how many seconds a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def waiting(store: str, order: str, cache: str, folder: Path, steps: int, workers: int) -> dict[str, float]:
    """Return the share of its time that a training at 224 pixels waits for data (`data_wait`), and its records/s."""
    _, options = source_of(store, folder)
    with tempfile.TemporaryDirectory() as run:
        overrides = [
            f"data.workers={workers}",
            f"data.cache={cache}",
            f"train.steps={steps}",
            f"log.every={steps // 2}",
        ]
        overrides.append(f"data.batch={TRAINED}")
        changes = {"data": {"source": options, "order": order_of(order)}, "evaluate": {"evaluators": {}}}
        changes["modalities"] = {"image": {"modality": {"name": "image", "size": 224}}}
        sensorium.fit({"base": "simclr", "name": "storage", **changes}, overrides, run_dir=Path(run) / "run")
        lines = (Path(run) / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        last = next(found for line in reversed(lines) if "data_wait" in (found := json.loads(line)))
        return {"waiting": last["data_wait"], "trained": last["records_per_second"]}


def measure(folder: Path, cases: list[str], records: int, workers: int, repeats: int, steps: int) -> dict[str, Any]:
    """Measure cases, each in a process of its own."""
    base = [
        sys.executable,
        __file__,
        str(folder),
        "--records",
        str(records),
        "--workers",
        str(workers),
        "--steps",
        str(steps),
    ]
    found: dict[str, Any] = {}
    for case in (one.split("/") for one in cases):
        rows: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
        for number in range(repeats):
            for state in rows:
                if state == "cold":
                    drop(folder)
                last = ["--train"] if (number, state) == (repeats - 1, "warm") else []
                out = subprocess.run([*base, "--case", *case, *last], check=True, capture_output=True, text=True).stdout
                rows[state].append(json.loads(out.splitlines()[-1]))
        found["/".join(case)] = rows
        print(case, rows, flush=True)
    return found


def show(found: dict[str, Any], folder: Path) -> None:
    """Print the table."""
    places = {"folder": "folder", "parquet": "parquet", "lance": "all.lance", "tars": "tars"}
    print("| store | order | cache | GB | open s | raw, cold | raw, warm | loaded, cold | loaded, warm | waiting |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for case, rows in found.items():
        store, order, cache = case.split("/")

        def cell(state: str, name: str, rows: Any = rows) -> str:
            values = [row[name] for row in rows[state] if name in row]
            spread = f" ± {statistics.stdev(values):,.0f}" if len(values) > 1 else ""
            return f"{statistics.mean(values):,.0f}{spread}" if values else "-"

        opened = statistics.mean(row["open_s"] for row in rows["cold"])
        wait = rows["warm"][-1]["waiting"]
        cells = [cell(state, name) for name in ("raw", "loaded") for state in ("cold", "warm")]
        size = size_of(folder / places[store]) / 1e9
        print(f"| {store} | {order} | {cache} | {size:.2f} | {opened:.2f} | {' | '.join(cells)} | {wait:.0%} |")


def main() -> None:
    """Make the data, or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--make", action="store_true")
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--records", type=int, default=20_000, help="that each rate is measured on")
    parser.add_argument("--steps", type=int, default=20, help="of the training that waits")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", nargs="+", default=["/".join(case) for case in CASES], help="STORE/ORDER/CACHE")
    parser.add_argument("--case", nargs=3)
    parser.add_argument("--train", action="store_true", help="of a case, measure the training that waits too")
    given = parser.parse_args()
    if given.make:
        make(given.folder, given.count)
    elif given.case:
        found = rates(*given.case, given.folder, given.records, given.workers)
        if given.train:
            found |= waiting(*given.case, given.folder, given.steps, given.workers)
        print(json.dumps(found))
    else:
        found = measure(given.folder, given.cases, given.records, given.workers, given.repeats, given.steps)
        kept = given.folder / "storage.json"
        found = (json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}) | found
        kept.write_text(json.dumps(found, indent=1), encoding="utf-8")
        show(found, given.folder)


if __name__ == "__main__":
    main()
