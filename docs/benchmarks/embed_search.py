"""A million records embedded and searched: memory, rate, recall; interrupted three times, the same file.

    python docs/benchmarks/embed_search.py --count 1000000 --out embed-search

Records are synthetic: 16 numbers each, near one of 2,000 centers, made from their position by a seed. The encoder is a
tiny network after some steps of training. Each piece is measured in a process of its own, with its own memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import sensorium
from sensorium import Record, RecordColumns, Source

WIDTH, CENTERS, SEED = 16, 2000, 0
RECIPE = {
    "seed": SEED,
    "modalities": {
        "timeseries": {
            "views": "augment",
            "encoder": {"name": "patch-transformer", "patch": 4, "width": 64, "depth": 2, "heads": 2},
        }
    },
    "objective": {"name": "simclr"},
}


class Points(Source):
    """Records that are computed: nothing of them is in memory."""

    fields = ("timeseries",)

    def __init__(self, count: int) -> None:
        self.count = count
        self.centers = np.random.default_rng(SEED).standard_normal((CENTERS, WIDTH)).astype(np.float32)

    def __len__(self) -> int:
        return self.count

    def columns(self) -> RecordColumns:
        """Ids are positions."""
        return RecordColumns(self.count)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < self.count:
            raise IndexError(index)
        rng = np.random.default_rng([SEED, index])
        x = self.centers[index % CENTERS] + 0.3 * rng.standard_normal(WIDTH).astype(np.float32)
        return Record(str(index), {"timeseries": x})


def main() -> None:
    """Run what the words of the command line say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("embed-search"))
    parser.add_argument("--piece", choices=["train", "embed", "search"])
    parser.add_argument("--file", type=Path)
    parser.add_argument("--index", default="exact")
    words = parser.parse_args()
    pieces = {"train": train, "embed": embed, "search": search}
    if words.piece:
        print(json.dumps(pieces[words.piece](words) | {"peak MB": peak()}))
    else:
        measure(words)


def train(words: argparse.Namespace) -> dict[str, float]:
    """Train a tiny encoder for some steps."""
    changes = {
        "data": {"batch": 256, "val": 0.0, "test": 0.0, "workers": 0},
        "train": {"steps": 50, "accelerator": "cpu"},
    }
    sensorium.fit(RECIPE | changes, source=Points(20_000), run_dir=words.out / "run")
    return {}


def embed(words: argparse.Namespace) -> dict[str, float]:
    """Embed all records into a file."""
    start = time.perf_counter()
    sensorium.embed(words.out / "run", words.file, source=Points(words.count), half=True, captions=False, device="cpu")
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "records/s": words.count / seconds, "MB": words.file.stat().st_size / 1e6}


def search(words: argparse.Namespace) -> dict[str, float | str]:
    """Search the nearest ten of some records among all."""
    from sensorium.neighbors.index import make_index
    from sensorium.neighbors.search import IndexOptions
    from sensorium.neighbors.similarity import l2_normalize

    table = sensorium.EmbeddingFile(words.file).table(labels=())
    y = l2_normalize(table.features["timeseries"], "cpu")
    x = y[np.random.default_rng(SEED).choice(len(y), min(words.queries, len(y)), replace=False)]
    start = time.perf_counter()
    index = make_index(y, x, IndexOptions(words.index))
    built = time.perf_counter()
    for block in index.blocks(len(x)):
        index.search(x[block], 10)
    return {"what": index.description, "build s": built - start, "queries/s": len(x) / (time.perf_counter() - built)}


def measure(words: argparse.Namespace) -> None:
    """Measure all pieces, and print a table."""
    words.out.mkdir(parents=True, exist_ok=True)
    if not (words.out / "run").exists():
        piece(words, "train")
    whole, stopped = words.out / "whole.parquet", words.out / "stopped.parquet"
    for count in (words.count // 10, words.count):
        shutil.rmtree(whole, ignore_errors=True)
        told = piece(words, "embed", file=whole, count=count)
        print(f"embed {count:,}: {told}")
    seconds, kills = told["seconds"], random.Random(SEED)
    for number in range(3):
        process = subprocess.Popen(command(words, "embed", file=stopped))
        time.sleep(5 + kills.uniform(0.1, 0.3) * seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        there = len(list(Path(f"{stopped}.parts").glob("*.arrow")))
        print(f"kill {number + 1}: {there} row groups are there")
    piece(words, "embed", file=stopped)
    print("the same file:", digest(whole) == digest(stopped), digest(whole)[:16])
    for index in ("exact", "ivf", "hnsw"):
        print(f"search, {index}: {piece(words, 'search', file=whole, index=index)}")


def piece(words: argparse.Namespace, name: str, **options: object) -> dict:
    """Run a piece in a process of its own; return what it printed last."""
    done = subprocess.run(command(words, name, **options), check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def command(words: argparse.Namespace, name: str, **options: object) -> list[str]:
    """Return the command line of a piece."""
    given = {"count": words.count, "queries": words.queries, "out": words.out} | options
    return [
        sys.executable,
        __file__,
        "--piece",
        name,
        *(w for key, value in given.items() for w in (f"--{key}", str(value))),
    ]


def peak() -> float:
    """Return the peak of this process's memory, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def digest(path: Path) -> str:
    """Return a hash of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
