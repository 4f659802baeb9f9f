"""MoleculeNet after pretraining on MOSES: frozen and fine-tuned metrics on the deterministic scaffold split.

    python docs/benchmarks/moleculenet.py FOLDER --molecules 40000 --seeds 5

FOLDER has moses-train.csv.gz, bace.csv, tox21.csv.gz, esol.csv and freesolv.csv. Pretrains by the recipe
`molecules-moses`, once for each seed, on a sample of MOSES; measures the frozen features of all runs together, beside
baseline ones and the untrained encoder; and fine-tunes the first run, beside the same encoder from scratch and a
random forest on ECFP4. Penalties and epochs are chosen inside the train part or on the val part.
"""

from __future__ import annotations

import argparse
import gzip
import random
import tempfile
import time
from pathlib import Path

import sensorium
from sensorium.evaluation.tables import ResultsTable

TOX21 = (
    *("NR-AR", "NR-AR-LBD", "NR-AhR", "NR-Aromatase", "NR-ER", "NR-ER-LBD"),
    *("NR-PPAR-gamma", "SR-ARE", "SR-ATAD5", "SR-HSE", "SR-MMP", "SR-p53"),
)
SETS = {
    "BACE": ("bace.csv", ["Class"], "multitask", "ROC-AUC"),
    "Tox21": ("tox21.csv.gz", list(TOX21), "multitask", "ROC-AUC"),
    "ESOL": ("esol.csv", ["measured log solubility in mols per litre"], "regression", "RMSE ↓"),
    "FreeSolv": ("freesolv.csv", ["expt"], "regression", "RMSE ↓"),
    "ClinTox": ("clintox.csv.gz", ["FDA_APPROVED", "CT_TOX"], "multitask", "ROC-AUC"),
}
"""Name -> file, label columns, kind of task, metric."""
EPOCHS = {"BACE": 40, "Tox21": 15, "ESOL": 60, "FreeSolv": 80, "ClinTox": 40}
FROZEN = {"multitask": "multitask", "regression": "forest"}


def sample(path: Path, count: int, out: Path) -> None:
    """Write SMILES drawn from a file of one column with a heading."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")[1:]
    chosen = random.Random(0).sample([line for line in lines if line], count)
    out.write_text("\n".join(chosen), encoding="utf-8")


def data(folder: Path, name: str) -> list[str]:
    """Return the overrides that evaluate a run on a labeled set."""
    file, labels, _, _ = SETS[name]
    source = f"{{name: molecules, path: {folder / file}, labels: {labels}, split: scaffold}}"
    return [f"data.source={source}", "data.cache=ram", "data.workers=0", "data.max_bad=0.02"]


def line(name: str, how: str, metric: str, table: ResultsTable) -> str:
    """Return the rows of a table as one line."""
    cells = [str(row.metrics[metric]) if metric in row.metrics else "–" for row in table.rows]
    return f"| {name}, {how}, {metric} | {' | '.join(cells)} | {table.split} |"


def main() -> None:
    """Pretrain, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--molecules", type=int, default=40_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--runs", type=Path, help="where runs are kept, and found when they are there")
    parser.add_argument("--trees", type=int, default=500, help="of every random forest")
    parser.add_argument("--frozen", action="store_true", help="skip fine-tuning")
    parser.add_argument("--tuning", nargs="+", default=[], help="key=value changes for fine-tuning")
    parser.add_argument("--pretraining", nargs="+", default=[], help="key=value changes to the recipe")
    asked = parser.parse_args()
    runs = asked.runs or Path(tempfile.mkdtemp())
    smiles = runs / "moses.smi"
    if not smiles.exists():
        runs.mkdir(parents=True, exist_ok=True)
        sample(asked.folder / "moses-train.csv.gz", asked.molecules, smiles)
    pretrained = [pretrain(runs / f"seed{seed}", smiles, seed, asked.pretraining) for seed in range(asked.seeds)]
    for name in asked.sets:
        _, _, task, metric = SETS[name]
        changes = data(asked.folder, name)
        frozen = FROZEN[task]
        options = {"multitask": "{}", "forest": f"{{trees: {asked.trees}}}"}[frozen]
        measured = ["evaluate.evaluators={}", f"evaluate.evaluators.{frozen}={options}"]
        tables = sensorium.evaluate(pretrained, None, [*changes, *measured])
        table = tables[frozen]
        print(line(name, "frozen", metric, table), flush=True)
        if asked.frozen:
            continue
        tuning = [f"finetune.task={task}", f"finetune.epochs={EPOCHS[name]}", f"finetune.seeds={asked.seeds}"]
        tuning += [f"finetune.trees={asked.trees}", *asked.tuning]
        start = time.perf_counter()
        run_dir = runs / f"tuned-{name}-{time.time_ns()}"
        table = sensorium.finetune(pretrained[0], [*changes, *tuning], run_dir=run_dir).table
        print(
            line(name, "fine-tuned", metric, table), f"({(time.perf_counter() - start) / 60:.1f} minutes)", flush=True
        )


def pretrain(run: Path, smiles: Path, seed: int, overrides: list[str]) -> Path:
    """Pretrain, unless the run is there, and return its folder."""
    if not run.exists():
        start = time.perf_counter()
        changes = [f"data.source={{name: molecules, path: {smiles}}}", f"seed={seed}", *overrides]
        sensorium.fit("molecules-moses", changes, run_dir=run)
        print(f"pretrained {run.name} in {(time.perf_counter() - start) / 60:.1f} minutes", flush=True)
    return run


if __name__ == "__main__":
    main()
