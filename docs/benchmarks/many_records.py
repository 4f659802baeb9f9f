"""Ten million records without media: seconds and memory to open, to split and to take the first step.

Each stage is a process of its own, so that its peak memory is its own; `split` and `step` open first. The same script
runs with the code of an older commit (`--python` of an environment that has it).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

MODALITY = {"name": "text", "tokenizer": "open_clip", "length": 16}
"""It learns nothing from the records before the first step."""
STAGES = ("open", "split", "step", "resume", "help")


def write_table(path: Path, count: int) -> None:
    """Write records of one number, with an id, a label of ten classes and a group of ten records each."""
    rng = np.random.default_rng(0)
    ids = pa.array([f"record-{number:09d}" for number in range(count)])
    groups = pa.array([f"group-{number:08d}" for number in rng.integers(0, max(count // 10, 1), count)])
    labels = pa.array([f"class {number}" for number in range(10)]).take(pa.array(rng.integers(0, 10, count)))
    columns = {"x": pa.array(rng.random(count, np.float32)), "id": ids, "kind": labels, "group": groups}
    pq.write_table(pa.table(columns), path)


def run_stage(stage: str, table: Path, folder: Path) -> None:
    """Run one stage in this process, and print its seconds and the peak memory as JSON."""
    start = time.perf_counter()
    if stage == "help":
        subprocess.run([sys.executable, "-m", "sensorium", "evaluate", "--help"], check=True, capture_output=True)
    else:
        _work(stage, table, folder)
    seconds = time.perf_counter() - start
    whose = resource.RUSAGE_CHILDREN if stage == "help" else resource.RUSAGE_SELF
    print(json.dumps({"seconds": seconds, "gigabytes": resource.getrusage(whose).ru_maxrss * 1024 / 1e9}))


def _work(stage: str, table: Path, folder: Path) -> None:
    import sensorium

    read = {"name": "table", "path": str(table), "columns": {"vector": ["x"]}, "id": "id", "labels": ["kind"]}
    read["group"] = "group"
    if stage in ("open", "split"):
        from sensorium.data.splits import assign_parts
        from sensorium.data.table import TableSource

        source = TableSource(**{key: value for key, value in read.items() if key != "name"})
        if stage == "split":
            assign_parts(source, {"val": 0.1, "test": 0.1}, 0)
        return
    if stage == "resume":
        sensorium.fit(resume=folder, evaluate=False, overrides=["train.steps=2"])
        return
    read["columns"] = {"text": "group"}
    recipe = {
        "data": {"source": read, "batch": 256, "workers": 0, "val": 0.1, "test": 0.1},
        "modalities": {
            "text": {"modality": MODALITY, "encoder": {"name": "transformer", "width": 32}, "views": "noisy"}
        },
        "objective": "vicreg",
        "train": {"steps": 1, "accelerator": "cpu"},
        "evaluate": {"evaluators": {}},
    }
    sensorium.fit(recipe, run_dir=folder, evaluate=False)


def main() -> None:
    """Measure the stages that are named, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the table and the run are written")
    parser.add_argument("--count", type=int, default=10**7)
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    parser.add_argument("--python", default=sys.executable, help="the interpreter, of another commit's environment")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    table, folder = options.folder / f"{options.count}.parquet", options.folder / f"run-{options.count}"
    if options.stage:
        run_stage(options.stage, table, folder)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    if not table.exists():
        write_table(table, options.count)
    for stage in options.stages:
        command = [options.python, __file__, "--folder", str(options.folder), "--count", str(options.count)]
        done = subprocess.run([*command, "--stage", stage], capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"error": done.stderr[-500:]}
        print(stage, found)


if __name__ == "__main__":
    main()
