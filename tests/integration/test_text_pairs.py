"""The shipped recipes that pair sounds, molecules and series with texts, on files made here, from file to figure."""

import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sensorium

QUICK = ["data.workers=0", "data.batch=32", "log.loggers={}", "train.accelerator=cpu"]
STEPS = ["train.steps=60"]
SMALL_TEXT = "modalities.text.encoder={name: transformer, width: 32, depth: 1, heads: 2}"


def spoken(folder):
    """Tones after a silence, whose pitch says the digit, 0 to 3, by eight speakers."""
    soundfile = pytest.importorskip("soundfile")
    folder.mkdir()
    rng, time_T = np.random.default_rng(0), np.arange(2400) / 8000
    for digit, speaker, take in np.ndindex(4, 8, 5):
        wave_T = 0.3 * np.sin(2 * np.pi * 200 * 2**digit * rng.uniform(0.95, 1.05) * time_T) * (time_T > 0.15)
        soundfile.write(folder / f"{digit}_s{speaker}_{take}.wav", wave_T + 0.01 * rng.standard_normal(2400), 8000)
    return folder


def named(folder):
    """Chains of carbon, with what is at their end, and their names."""
    pytest.importorskip("rdkit")
    ends = {"O": "ol", "N": "amine", "Cl": "chloride", "C#N": "nitrile", "S": "thiol", "C(=O)O": "acid"}
    rows = [("C" * n + end, f"c{n} {name}") for n in range(1, 16) for end, name in ends.items()]
    with (folder / "names.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("smiles", "iupac"), *rows])
    return folder / "names.csv"


def noted(folder):
    """Waves of one channel, which are slow or fast and rise or fall, and notes that say so and more."""
    rng, time_T = np.random.default_rng(0), np.linspace(0, 1, 64)
    values, notes = [], []
    for number in range(160):
        fast, rising = number % 2, number // 2 % 2
        wave_T = np.sin(2 * np.pi * (3 + 9 * fast) * time_T + rng.uniform(0, 6))
        values.append((wave_T + (4 * rising - 2) * time_T + 0.1 * rng.standard_normal(64)).tolist())
        notes.append(f"{'fast' if fast else 'slow'} and {'rising' if rising else 'falling'}, seen {number} times")
    pq.write_table(pa.table({"values": values, "note": notes}), folder / "notes.parquet")
    return folder / "notes.parquet"


def metrics(recipe, path, run, *changes):
    """Train, and return the figures of chance and of what was trained."""
    sensorium.fit(recipe, [f"data.source.path={path}", *QUICK, *STEPS, SMALL_TEXT, *changes], run_dir=run)
    (table,) = sensorium.evaluate(run).values()
    rows = {row.name: {name: metric.mean for name, metric in row.metrics.items()} for row in table.rows}
    return rows["chance"], rows["trained"]


def test_spoken_words_are_told_by_their_texts(tmp_path):
    small = "modalities.audio.encoder={name: conv, width: 4, dim: 16, downsample: stride}"
    chance, trained = metrics("audio-text", spoken(tmp_path / "sounds"), tmp_path / "run", small, "data.test=0.4")
    assert chance["top-1 accuracy"] == pytest.approx(0.25)
    assert trained["top-1 accuracy"] > 0.6


def test_molecules_find_their_names(tmp_path):
    small = "modalities.molecule.encoder={name: gine, width: 32, depth: 3, pool: mean}"
    chance, trained = metrics("molecule-text", named(tmp_path), tmp_path / "run", small)
    assert trained["molecule->text MRR"] > 1.5 * chance["molecule->text MRR"]


def test_series_find_their_notes(tmp_path):
    small = "modalities.signal.encoder={name: inception, filters: 4, depth: 3}"
    chance, trained = metrics("sensor-text", noted(tmp_path), tmp_path / "run", small, "data.test=0.3")
    assert trained["signal->text MRR"] > 1.5 * chance["signal->text MRR"]
