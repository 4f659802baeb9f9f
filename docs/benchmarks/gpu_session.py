"""The first hour on a device: what only a GPU can tell, in parts of at most nine minutes each.

    python docs/benchmarks/gpu_session.py --part steps
    python docs/benchmarks/gpu_session.py --part images
    python docs/benchmarks/gpu_session.py --part losses
    python docs/benchmarks/gpu_session.py --part cifar10 --train cifar10-train.parquet --test cifar10-test.parquet
    python docs/benchmarks/gpu_session.py --part evaluation --train cifar10-train.parquet --test cifar10-test.parquet
    python docs/benchmarks/gpu_session.py --page

Repeat a command until it prints that the part is complete: rows that are measured are kept, and a training goes on
from its checkpoint. Each part writes one JSON file with date, card and versions to the folder `--out`, and `--page`
makes the tables of the page beside this script from them; what is not measured yet says so. A package that is missing
(open_clip, lightly) costs its rows only. `--device cpu --tiny` runs every part in seconds, as the suite does.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from gpu_parts import page
from gpu_parts.session import Settings, measure_rows
from PIL import Image

PARTS = ("steps", "images", "losses", "cifar10", "evaluation")
HERE = Path(__file__).parent
RESULTS = HERE / "gpu-session"
TINY_ROWS = {"train": 64, "test": 32}


def main(arguments: list[str] | None = None) -> None:
    """Measure one part, or make the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, help="what is measured")
    parser.add_argument("--page", action="store_true", help="make the tables of the page from what was measured")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder of results and runs")
    parser.add_argument("--minutes", type=float, default=8.5, help="after which no row begins and a training stops")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="every part in seconds, on drawn images")
    parser.add_argument("--train", type=Path, default=Path("cifar10-train.parquet"), help="CIFAR-10's train part")
    parser.add_argument("--test", type=Path, default=Path("cifar10-test.parquet"), help="its test part")
    asked = parser.parse_args(arguments)
    if asked.part is not None:
        if asked.tiny:
            asked.train, asked.test = (drawn(asked.out, part) for part in TINY_ROWS)
        sys.path.append(str(HERE.parents[1]))  # of `tests.golden`, whose pairs are those of the first part
        part = importlib.import_module(f"gpu_parts.{asked.part}")
        deadline = time.monotonic() + 60 * asked.minutes
        settings = Settings(torch.device(asked.device), asked.tiny, asked.out, deadline, asked.train, asked.test)
        complete = measure_rows(asked.part, part.rows(settings), settings)
        print(f"The part {asked.part} is complete." if complete else "The time is up: give the command again to go on.")
    if asked.page:
        page.write(HERE / "gpu-session.md", asked.out)


def drawn(out: Path, part: str) -> Path:
    """Return a table of a few drawn images in the form of CIFAR-10's."""
    file = out / f"tiny-{part}.parquet"
    if not file.exists():
        rng, rows = torch.Generator().manual_seed(TINY_ROWS[part]), []
        for pixels in torch.randint(0, 256, (TINY_ROWS[part], 32, 32, 3), generator=rng, dtype=torch.uint8):
            encoded = io.BytesIO()
            Image.fromarray(pixels.numpy()).save(encoded, "PNG")
            rows.append({"bytes": encoded.getvalue(), "path": None})
        labels = [i % 4 for i in range(len(rows))]
        out.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table({"image": rows, "label": labels}), file)
    return file


if __name__ == "__main__":
    main()
