"""Series of 2, 9 and 24 channels in one encoder: pretrained on the mixture, and on each channel set alone.

    python docs/benchmarks/channel_sets.py RECORDINGS --seeds 3 --runs runs/channels

The sets: `motion`, acceleration along x and y (2 of the 6 channels of BasicMotions, UEA archive, bundled with aeon: 40
series for training, 40 for the test, 4 activities); `vowels`, the first 9 of the 12 cepstral coefficients of
JapaneseVowels (aeon: 270 and 370, 9 speakers); `digits`, 24 log-mel bands of spoken digits (the Free Spoken Digit
Dataset, whose files RECORDINGS has as {digit}_{speaker}_{take}.wav; takes 5 to 9 for training and 0 to 4 for the test,
300 each). Three fifths of the patches are masked (MAE), as many steps for each training. A linear probe then learns the
classes of each set on its train part; nothing is chosen by the test part.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import sensorium
from sensorium.data.arrays import ArraysSource
from sensorium.modalities.audio.modality import AudioModality
from sensorium.modalities.timeseries.sources.aeon import Aeon

MOTION = ("acceleration x", "acceleration y")
VOWELS = tuple(f"cepstral coefficient {i + 1}" for i in range(9))
DIGITS = tuple(f"mel band {i + 1}" for i in range(24))


class Series(NamedTuple):
    """One series: its name, its values (C, T), the names of its channels, its class and its part."""

    id: str
    values: np.ndarray
    channels: tuple[str, ...]
    label: str
    part: str | None


def bundled(dataset: str, channels: tuple[str, ...]) -> list[Series]:
    """Return the first channels of a data set of aeon."""
    source = Aeon(dataset)
    records = [source[i] for i in range(len(source))]
    return [
        Series(
            f"{dataset}/{r.id}",
            np.asarray(r.values["timeseries"])[: len(channels)],
            channels,
            r.labels["class"],
            r.split,
        )
        for r in records
    ]


def digits(folder: Path) -> list[Series]:
    """Return log-mel spectrograms of the recordings of takes 0 to 9."""
    files = sorted(f for f in folder.glob("*.wav") if int(f.stem.split("_")[2]) < 10)
    modality = AudioModality(sample_rate=8000, n_mels=len(DIGITS), hop=16.0)
    modality.fit(map(str, files))
    made = []
    for file in files:
        digit, _, take = file.stem.split("_")
        mels = modality.log_mels(modality.collate([modality.decode(str(file))])).values[0].numpy()
        made.append(Series(f"digits/{file.stem}", mels, DIGITS, digit, "test" if int(take) < 5 else "train"))
    return made


def source_of(series: list[Series]) -> ArraysSource:
    """Return series as a source."""
    raws = [{"values": one.values, "channels": list(one.channels)} for one in series]
    labels = {"class": [one.label for one in series]}
    return ArraysSource({"timeseries": raws}, labels, [one.id for one in series], [one.part for one in series])


def recipe(steps: int, seed: int, probes: bool) -> dict[str, Any]:
    """Return the recipe of one training."""
    probe = {"linear": {"label": "class"}} if probes else {}
    return {"base": "any-channels", "seed": seed, "train": {"steps": steps}, "evaluate": {"evaluators": probe}}


def measured(folder: Path, series: list[Series]) -> dict[str, float]:
    """Return the accuracy of each row of a run's table on one set."""
    probe = {"linear": {"label": "class"}}
    table = sensorium.evaluate([folder], probe, source=source_of(series))["linear"]
    return {row.name: row.metrics["accuracy"].mean for row in table.rows}


def main() -> None:
    """Train, measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="at least 2")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--runs", type=Path, help="a folder of runs; finished ones are not trained again")
    asked = parser.parse_args()
    sets = {
        "motion": bundled("BasicMotions", MOTION),
        "vowels": bundled("JapaneseVowels", VOWELS),
        "digits": digits(asked.recordings),
    }
    trainings = {"mixture": [one for series in sets.values() for one in series], **sets}
    found: dict[str, dict[str, list[float]]] = {name: {} for name in sets}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(asked.seeds):
            for trained_on, series in trainings.items():
                folder = (asked.runs or Path(scratch)) / trained_on / str(seed)
                if not (folder / "model").exists():
                    sensorium.fit(recipe(asked.steps, seed, False), source=source_of(series), run_dir=folder)
                for name in sets if trained_on == "mixture" else [trained_on]:
                    rows = measured(folder, sets[name])
                    row = "mixture" if trained_on == "mixture" else "this set alone"
                    for given, metric in rows.items():
                        shown = row if given == "trained" else given
                        if given == "trained" or trained_on == "mixture":
                            found[name].setdefault(shown, []).append(metric)
                    print(seed, trained_on, name, rows, flush=True)
    rows = ("chance", "baseline", "untrained", "this set alone", "mixture")
    print(f"| set | channels | {' | '.join(rows)} |\n|" + " --- |" * (len(rows) + 2))
    for name, metrics in found.items():
        cells = [f"{statistics.mean(metrics[r]):.3f} ± {statistics.stdev(metrics[r]):.3f}" for r in rows]
        print(f"| {name} | {len(sets[name][0].channels)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
