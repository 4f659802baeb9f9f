"""Continuing on recordings: a small transformer that was pretrained on musical notes, continued on spoken digits.

    python docs/benchmarks/continue_audio.py recordings --runs runs/continue-audio --seeds 3

`recordings` has the files of the Free Spoken Digit Dataset, {digit}_{speaker}_{take}.wav. One encoder is pretrained on
notes, then continued on nine tenths of the recordings without their labels, at two learning rates and under several
seeds; beside it the same training starts from random weights. A linear probe then learns the digits of all speakers but
one, for each in turn; notes are the reference set, to measure what was forgotten. A run that is in the folder is not
trained again, and one that was stopped goes on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from resumable import fit_until, seconds_of

import sensorium

RECIPE = "spoken-digits"
SMALL = (
    "modalities.audio.encoder={name: spectrogram-transformer, patch: [40, 2], width: 64, depth: 3, heads: 4, parts: 8}",
    "objective={name: mae, mask_ratio: 0.5, width: 64, depth: 1}",
    "evaluate.evaluators={}",
    "checkpoint.every=100",
    "log.loggers={}",
)
PRETRAINING = (
    "data.source={name: musical-notes, count: 4000}",
    "modalities.audio.modality.trim=null",
    "train={epochs: null, steps: 1000}",
)
STEPS = "train={epochs: null, steps: 200}"
STARTS: dict[str, tuple[str, ...]] = {
    "scratch": (),
    "continued": ("modalities.audio.weights={notes}",),
    "continued-gently": (
        "modalities.audio.weights={notes}",
        "optimizer.lr=4e-4",
        "modalities.audio.layer_decay=0.75",
    ),
}
"""What is trained on the recordings; {notes} is the run on notes."""
DIGITS = "digit, protocol: {name: leave-one-group-out, by: speaker}, standardize_by: speaker, Cs: [0.01]"
REFERENCE = (
    "{source: {name: musical-notes, count: 4000}, test: 0.3, evaluators: {linear: {label: instrument, Cs: [0.01]}}}"
)


def train(runs: Path, recordings: Path, seeds: int, deadline: float) -> bool:
    """Train what is missing; returns whether all of it came to its end before the deadline."""
    notes, on_digits = runs / "notes", [*SMALL, STEPS, f"data.source.path={recordings}"]
    if not fit_until(deadline, notes, RECIPE, [*SMALL, *PRETRAINING]):
        return False
    return all(
        fit_until(
            deadline,
            runs / f"{start}-{seed}",
            RECIPE,
            [*on_digits, f"seed={seed}", *(change.format(notes=notes) for change in changes)],
        )
        for seed in range(seeds)
        for start, changes in STARTS.items()
    )


def measure(runs: list[Path], started: bool) -> None:
    """Print the tables of the same training of several seeds: of digits, and of notes where it started from them."""
    overrides = [f"evaluate.evaluators={{linear: {{label: {DIGITS}}}}}"]
    tables = sensorium.evaluate(runs, None, [*overrides, *[f"evaluate.reference={REFERENCE}"] * started])
    for table in tables.values():
        print(table.markdown(), flush=True)


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/continue-audio"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1e6, help="stop after so many; the next call goes on")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    deadline = time.monotonic() + asked.seconds
    asked.runs.mkdir(parents=True, exist_ok=True)
    if not train(asked.runs, asked.recordings, asked.seeds, deadline):
        print("not finished: give the command again")
        return
    for start in STARTS:
        folders = [asked.runs / f"{start}-{seed}" for seed in range(asked.seeds)]
        print(f"\n# {start}: {sum(seconds_of(folder) for folder in folders) / asked.seeds:.0f} s a seed\n")
        measure(folders, bool(STARTS[start]))


if __name__ == "__main__":
    main()
