"""Molecules after regression on RDKit's descriptors, beside fingerprints: the scaffold splits of MoleculeNet.

    python docs/benchmarks/molecule_descriptors.py FOLDER RUNS --moses 14000 --seeds 5

FOLDER has moses-train.csv.gz and the labeled sets. Pretrains by the recipe `molecules-descriptors` on a sample of MOSES
and the molecules bundled with RDKit, less those of any test part; on the same molecules, for as many steps, GraphMAE;
then fine-tunes both, and the same encoder from scratch, beside random forests on ECFP4 and on descriptors. Epochs are
chosen on the val part. Every cell that is done is kept in RUNS: the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from moleculenet import SETS, data
from rdkit import Chem, RDConfig, RDLogger
from resumable import state

import sensorium
from sensorium.evaluation.tables import ResultsTable
from sensorium.modalities.molecule.sources.files import MoleculeFiles

BUNDLED = ("NCI/first_5k.tpsa.csv", "Pains/test_data/wehi_mols.csv")
EPOCHS = {"BACE": 20, "Tox21": 4, "ESOL": 20, "FreeSolv": 20, "ClinTox": 20}
LARGER_BATCH = ("Tox21",)
Cell = dict[str, dict[str, list[float]]]
"""Row -> metric -> its value for each seed."""


def flat(smiles: str) -> str | None:
    """Return the canonical SMILES without stereochemistry, None for an invalid one."""
    mol = Chem.MolFromSmiles(smiles)
    return None if mol is None else Chem.MolToSmiles(mol, isomericSmiles=False)


def bundled() -> list[str]:
    """Return the SMILES of the molecules bundled with RDKit, of the NCI and of the WEHI."""
    found = []
    for name in BUNDLED:
        with Path(RDConfig.RDDataDir, name).open(encoding="utf-8", newline="") as file:
            found += [row[0] for row in csv.reader(line for line in file if not line.startswith("#"))]
    return found


def tested(folder: Path) -> dict[str, set[str]]:
    """Return the molecules of the test part of every set."""
    found = {}
    for name, (file, labels, _, _) in SETS.items():
        source = MoleculeFiles(str(folder / file), labels=labels, split="scaffold")
        rows = [row for row in range(len(source)) if source.key(row).split == "test"]
        found[name] = {one for row in rows if (one := flat(source[row].values["molecule"])) is not None}
    return found


def corpus(folder: Path, moses: int, out: Path) -> None:
    """Write the SMILES to pretrain on, and print how many were left out."""
    with gzip.open(folder / "moses-train.csv.gz", "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")[1:]
    drawn = [*random.Random(0).sample([line for line in lines if line], moses), *bundled()]
    parts = tested(folder)
    kept, left_out = [], dict.fromkeys(parts, 0)
    for smiles in drawn:
        one = flat(smiles)
        within = [name for name, test in parts.items() if one in test]
        for name in within:
            left_out[name] += 1
        if one is not None and not within:
            kept.append(smiles)
    out.write_text("\n".join(kept), encoding="utf-8")
    print(f"{len(kept)} of {len(drawn)} molecules to pretrain on; left out, as in a test part: {left_out}", flush=True)


def pretrained(run: Path, recipe: str, smiles: Path, seed: int, overrides: list[str]) -> Path:
    """Pretrain or resume, unless the run is finished, and return its folder."""
    if state(run) == "finished":
        return run
    start = time.perf_counter()
    if list(run.glob("checkpoints/step-*")):
        sensorium.fit(resume=run)
    else:
        source = f"data.source={{name: molecules, path: {smiles}}}"
        sensorium.fit(recipe, [source, f"seed={seed}", *overrides], run_dir=run)
    print(f"pretrained {run.name} in {(time.perf_counter() - start) / 60:.1f} minutes", flush=True)
    return run


def kept(path: Path, measure: Callable[[], ResultsTable]) -> Cell:
    """Return the cell that is in a file, or measure and keep it."""
    if not path.exists():
        start, table = time.perf_counter(), measure()
        rows = {
            row.name: {
                name: [score for scores in found.scores for score in scores] for name, found in row.metrics.items()
            }
            for row in table.rows
        }
        path.write_text(json.dumps({"split": table.split, "rows": rows}), encoding="utf-8")
        print(f"{path.stem} in {(time.perf_counter() - start) / 60:.1f} minutes", flush=True)
    cell: Cell = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return cell


def tuned(run: Path, start: str, name: str, asked: argparse.Namespace, baseline: str) -> ResultsTable:
    """Fine-tune on a set, beside forests on baseline features if any are named."""
    task = SETS[name][2]
    tuning = [f"finetune.task={task}", f"finetune.epochs={EPOCHS[name]}", f"finetune.seeds={asked.seeds}"]
    tuning += [f"finetune.trees={asked.trees if baseline else 1}", *asked.tuning]
    tuning += ["finetune.batch=128"] * (name in LARGER_BATCH)
    if baseline:
        tuning.append(f"modalities.molecule.modality.baseline={baseline}")
    folder = asked.runs / "tuned" / f"{run.name}-{start}-{name}-{time.time_ns()}"
    return sensorium.finetune(run, [*data(asked.folder, name), *tuning], start=start, run_dir=folder).table


def frozen(runs: list[Path], name: str, asked: argparse.Namespace) -> ResultsTable:
    """Measure forests on the frozen features of runs, and on descriptors."""
    forest = f"trees: {asked.trees}, task: {SETS[name][2]}, protocol: {{name: given, repeats: {asked.seeds}}}"
    measured = ["evaluate.evaluators={}", f"evaluate.evaluators.forest={{{forest}}}"]
    measured.append("modalities.molecule.modality.baseline=descriptors")
    return sensorium.evaluate(runs, None, [*data(asked.folder, name), *measured])["forest"]


def main() -> None:
    """Pretrain, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--moses", type=int, default=14_000, help="molecules of MOSES")
    parser.add_argument("--seeds", type=int, default=5, help="of fine-tuning and of forests")
    parser.add_argument("--pretrained", type=int, default=1, help="seeds of pretraining; the first is fine-tuned")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--cells", nargs="+", default=["regress", "scratch", "graphmae", "frozen"])
    parser.add_argument("--trees", type=int, default=200, help="of every random forest")
    parser.add_argument("--tuning", nargs="+", default=[], help="key=value changes for fine-tuning")
    parser.add_argument("--pretraining", nargs="+", default=[], help="key=value changes to both recipes")
    asked = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    cells = asked.runs / "cells"
    cells.mkdir(parents=True, exist_ok=True)
    smiles = asked.runs / "pretraining.smi"
    if not smiles.exists():
        corpus(asked.folder, asked.moses, smiles)
    recipes = {"regress": "molecules-descriptors", "graphmae": "molecules-moses"}

    def run(kind: str, seed: int = 0) -> Path:
        return pretrained(asked.runs / f"{kind}{seed}", recipes[kind], smiles, seed, asked.pretraining)

    measures: dict[str, Callable[[str], ResultsTable]] = {
        "regress": lambda name: tuned(run("regress"), "trained", name, asked, ""),
        "scratch": lambda name: tuned(run("regress"), "scratch", name, asked, "ecfp4"),
        "graphmae": lambda name: tuned(run("graphmae"), "trained", name, asked, ""),
        "frozen": lambda name: frozen([run("regress", seed) for seed in range(asked.pretrained)], name, asked),
    }
    for kind in asked.cells:
        for name in asked.sets:
            cell = kept(cells / f"{kind}-{name}.json", lambda kind=kind, name=name: measures[kind](name))  # type: ignore[misc]
            metric = SETS[name][3]
            for row, metrics in cell.items():
                if metric in metrics:
                    scores = metrics[metric]
                    std = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
                    print(f"| {name} | {kind} | {row} | {statistics.fmean(scores):.3f}{std} |", flush=True)


if __name__ == "__main__":
    main()
