"""Metrics of the initial and the trained weights of every shipped recipe whose data are bundled with a wheel.

    python docs/benchmarks/recipes.py --results recipes

One line for each evaluator of a recipe, with the first metric of its table. A recipe that is in the folder of results
is not trained again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path

from kept import kept

import sensorium
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions

SAMPLES = ("openmoji", "emoji-names", "musical-notes", "aeon", "rdkit-samples", "stochastic-blocks", "karate")
ROWS = ("chance", "baseline", "untrained", "trained")


def without_files() -> list[str]:
    """Return the names of the recipes that read no file of the user's."""
    registry = load_extensions().registry
    names = [spec.name for spec in registry.specs("recipes")]
    return [name for name in names if read_recipe(name, registry).data.source.name in SAMPLES]


def one(name: str, seed: int) -> dict[str, object]:
    """Train one recipe, and return its metrics and CPU seconds."""
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        model = sensorium.fit(name, [f"seed={seed}", "log.loggers={}"], run_dir=Path(folder) / "run")
        seconds = time.process_time() - start
        files = sorted(model.run.evaluations.glob("*.json"))
        tables = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}
    found = {}
    for evaluator, table in tables.items():
        rows = table["rows"]
        if evaluator == "health" or "trained" not in rows:
            continue
        metric = next(iter(rows["trained"]["metrics"]))
        measured = {row: rows[row]["metrics"][metric]["mean"] for row in rows if metric in rows[row]["metrics"]}
        found[evaluator] = {"metric": metric, "rows": measured}
    return {"seconds": seconds, "tables": found}


def main() -> None:
    """Train what is not there yet, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", default=without_files(), choices=without_files())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path("recipes"))
    asked = parser.parse_args()
    print(f"| recipe | metric | {' | '.join(ROWS)} | CPU seconds |")
    print(f"| --- | --- |{' ---: |' * (len(ROWS) + 1)}")
    for name in asked.recipes:
        found = kept(asked.results / f"{asked.seed} {name}.json", partial(one, name, asked.seed))
        for evaluator, table in found["tables"].items():
            cells = [f"{table['rows'][row]:.3f}" if row in table["rows"] else "" for row in ROWS]
            print(
                f"| {name} | {evaluator}, {table['metric']} | {' | '.join(cells)} | {found['seconds']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
