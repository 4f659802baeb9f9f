"""Planted near-duplicates, leaks and outliers: how many `sensorium curate` finds, and what else it takes for one.

    python docs/benchmarks/curation.py DATA --steps 150

DATA has `cifar10-train.parquet`, `fsdd.tar.gz`, `moses-train.csv.gz` and `stsb-en-train.csv`; series come with aeon. Of
each modality 1,000 records are the train part; of 100 of them a copy of each kind is planted in the test part: a leak.
By baseline features, without any training, and images also by an encoder that SimCLR has trained for some steps on
5,000 images, those of the train part among them (`--steps 0`: without). Outliers are 20 values of another origin among
the 1,000. `--centred` compares vectors that are centred and not whitened, at .95.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import soundfile
from PIL import Image, ImageEnhance, ImageOps
from rdkit import Chem

import sensorium
from sensorium.curation import near_duplicates
from sensorium.data.arrays import ArraysSource
from sensorium.neighbors.similarity import l2_normalize

RECORDS, COPIES, STRANGE = 1000, 100, 20
RATE = 8000
Kinds = dict[str, Callable[[Any, np.random.Generator], Any]]


def jpeg(image: Image.Image, quality: int) -> bytes:
    """Return an image as a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def opened(raw: bytes) -> Image.Image:
    """Return the image in a file."""
    return Image.open(io.BytesIO(raw)).convert("RGB")


def cropped(raw: bytes, rng: np.random.Generator) -> bytes:
    """Return a random part of an image, of 90 % of its area, at its size."""
    image = opened(raw)
    side = round(0.9**0.5 * image.width)
    left, top = rng.integers(0, image.width - side + 1, 2).tolist()
    return jpeg(image.crop((left, top, left + side, top + side)).resize(image.size), 95)


def images(data: Path, count: int) -> list[bytes]:
    """Return the first images of CIFAR-10."""
    return [cell["bytes"] for cell in pq.read_table(data / "cifar10-train.parquet")["image"][:count].to_pylist()]


IMAGES: Kinds = {
    "exact": lambda raw, rng: raw,
    "JPEG of quality 50": lambda raw, rng: jpeg(opened(raw), 50),
    "brightness x 1.3": lambda raw, rng: jpeg(ImageEnhance.Brightness(opened(raw)).enhance(1.3), 95),
    "90 % cropped": cropped,
    "mirrored": lambda raw, rng: jpeg(ImageOps.mirror(opened(raw)), 95),
}


def texts(data: Path, count: int) -> list[str]:
    """Return different sentences of the STS benchmark, of six words or more."""
    with (data / "stsb-en-train.csv").open(encoding="utf-8") as file:
        found = dict.fromkeys(row[0].strip() for row in csv.reader(file) if len(row[0].split()) >= 6)
    return list({text.lower(): text for text in found}.values())[:count]


def typo(text: str, rng: np.random.Generator) -> str:
    """Return a text in which two neighboring letters changed places."""
    at = int(rng.integers(1, len(text) - 2))
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def without_a_word(text: str, rng: np.random.Generator) -> str:
    """Return a text without one of its words."""
    words = text.split()
    del words[int(rng.integers(len(words)))]
    return " ".join(words)


TEXTS: Kinds = {
    "exact": lambda text, rng: text,
    "upper case": lambda text, rng: text.upper(),
    "a typo": typo,
    "a word left out": without_a_word,
}


def wave(samples_S: np.ndarray) -> bytes:
    """Return samples as a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples_S, -1, 1), RATE, format="WAV")
    return file.getvalue()


def heard(raw: bytes) -> np.ndarray:
    """Return the samples in a file."""
    return soundfile.read(io.BytesIO(raw))[0]


def noisy(raw: bytes, rng: np.random.Generator) -> bytes:
    """Return a clip with white noise, 20 dB below it."""
    samples_S = heard(raw)
    return wave(samples_S + 0.1 * samples_S.std() * rng.standard_normal(len(samples_S)))


def clips(data: Path, count: int) -> list[bytes]:
    """Return spoken digits, of every speaker."""
    with tarfile.open(data / "fsdd.tar.gz") as tar:
        found = {m.name: tar.extractfile(m).read() for m in tar if m.name.endswith(".wav")}  # type: ignore[union-attr]
    return [found[name] for name in sorted(found)[:: len(found) // count]][:count]


CLIPS: Kinds = {
    "exact": lambda raw, rng: raw,
    "gain -6 dB": lambda raw, rng: wave(heard(raw) / 2),
    "noise 20 dB below": noisy,
    "50 ms later": lambda raw, rng: wave(np.concatenate([np.zeros(RATE // 20), heard(raw)])),
}


def series(data: Path, count: int) -> list[np.ndarray]:
    """Return the power demands of ItalyPowerDemand, 24 hours each; there are 1,096."""
    from aeon.datasets import load_italy_power_demand

    return list(load_italy_power_demand()[0])[:count]


SERIES: Kinds = {
    "exact": lambda x_CT, rng: x_CT,
    "scale x 1.1": lambda x_CT, rng: 1.1 * x_CT,
    "noise of 5 %": lambda x_CT, rng: x_CT + 0.05 * x_CT.std() * rng.standard_normal(x_CT.shape),
    "an hour later": lambda x_CT, rng: np.concatenate([x_CT[:, :1], x_CT[:, :-1]], axis=1),
}


def molecules(data: Path, count: int) -> list[str]:
    """Return the first molecules of MOSES."""
    with gzip.open(data / "moses-train.csv.gz", "rt") as file:
        return [line.split(",")[0].strip() for line, _ in zip(file, range(count + 1), strict=False)][1:]


def respelled(smiles: str, rng: np.random.Generator) -> str:
    """Return another SMILES of a molecule."""
    mol = Chem.MolFromSmiles(smiles)
    order = rng.permutation(mol.GetNumAtoms()).tolist()
    return Chem.MolToSmiles(Chem.RenumberAtoms(mol, order), canonical=False)


MOLECULES: Kinds = {
    "exact": lambda smiles, rng: smiles,
    "another SMILES": respelled,
    "as a hydrochloride": lambda smiles, rng: f"{smiles}.Cl",
}


def strange(modality: str, rng: np.random.Generator) -> Iterator[Any]:
    """Yield values of another origin than the records of a modality."""
    for number in range(STRANGE):
        if modality == "image":  # stripes
            wavy = np.sin(np.arange(32) * rng.uniform(0.5, 3)) > 0
            yield jpeg(Image.fromarray(np.uint8(255 * np.tile(wavy, (32, 1)))).rotate(90 * number).convert("RGB"), 95)
        elif modality == "text":
            yield " ".join("".join(rng.choice(list("qxzjkvw"), 6)) for _ in range(8))
        elif modality == "audio":  # tones
            yield wave(0.3 * np.sin(2 * np.pi * rng.uniform(200, 3500) * np.arange(RATE // 2) / RATE))
        elif modality == "timeseries":
            yield rng.standard_normal((1, 24))
        else:  # peptides
            yield Chem.MolToSmiles(Chem.MolFromSequence("".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 8))))


MODALITIES: dict[str, tuple[Callable[[Path, int], list[Any]], Kinds]] = {
    "image": (images, IMAGES),
    "text": (texts, TEXTS),
    "audio": (clips, CLIPS),
    "timeseries": (series, SERIES),
    "molecule": (molecules, MOLECULES),
}


def planted(modality: str, values: list[Any], kinds: Kinds) -> ArraysSource:
    """Return records as the train part, and copies of each kind of some of them as the test part."""
    rng = np.random.default_rng(0)
    originals = rng.choice(len(values), COPIES, replace=False).tolist()
    ids, copies = [str(row) for row in range(len(values))], []
    for kind, copy in kinds.items():
        ids += [f"{kind}/{row}" for row in originals]
        copies += [copy(values[row], rng) for row in originals]
    parts = ["train"] * len(values) + ["test"] * len(copies)
    return ArraysSource({modality: values + copies}, ids=ids, splits=parts)


def found_leaks(curation: sensorium.curate.Curation, kinds: Kinds) -> dict[str, int]:
    """Return how many copies of each kind are in a group with their original, and how many other records are in any."""
    group_of = {row["id"]: row["duplicates"] for row in curation.rows.to_pylist()}
    found = dict.fromkeys(kinds, 0)
    originals = set()
    for name, group in group_of.items():
        kind, _, original = name.partition("/")
        originals.add(original)
        if original and group is not None and group == group_of[original]:
            found[kind] += 1
    others = [name for name, group in group_of.items() if "/" not in name and name not in originals]
    return {**found, "false": sum(group_of[name] is not None for name in others), "others": len(others)}


def show(modality: str, by: str, source: ArraysSource, target: Any, options: dict[str, Any], kinds: Kinds) -> None:
    """Print a line of the table for each kind of copy, and one of other records that are taken for duplicates."""
    curation = sensorium.curate.duplicates(target, source=source, **options)
    found = found_leaks(curation, kinds)
    for kind in kinds:
        print(f"| {modality} | {by} | {kind} | {found[kind]} of {COPIES} |", flush=True)
    print(f"| {modality} | {by} | *no copy, yet taken for one* | {found['false']} of {found['others']:,} |", flush=True)


def show_outliers(modality: str, values: list[Any], overrides: list[str]) -> None:
    """Print how many of the strange records are among as many that are flagged."""
    foreign = list(strange(modality, np.random.default_rng(1)))
    ids = [*(str(row) for row in range(len(values))), *(f"strange/{row}" for row in range(STRANGE))]
    source = ArraysSource({modality: values + foreign}, ids=ids)
    share, cells = STRANGE / len(ids), []
    for method in ("knn", "lof", "isolation-forest"):
        found = sensorium.curate.outliers(
            None, overrides=overrides, source=source, method=method, share=share, k=2 * STRANGE
        )
        flagged = [row["id"] for row in found.rows.to_pylist() if row["outlier"]]
        cells.append(f"{sum(name.startswith('strange') for name in flagged)} of {STRANGE}")
    print(f"| {modality} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--modalities", nargs="+", default=list(MODALITIES))
    parser.add_argument("--centred", action="store_true", help="compare centred vectors, not whitened ones, at .95")
    asked = parser.parse_args()
    at: dict[str, Any] = {}
    if asked.centred:
        near_duplicates.partly_whitened = lambda x_MD, among=None: l2_normalize(x_MD - x_MD.mean(dim=0), x_MD.device)
        at = {"threshold": 0.95}
    read = {name: MODALITIES[name][0](asked.data, RECORDS) for name in asked.modalities}
    print("| modality | compared by | copy | found |\n| --- | --- | --- | --- |", flush=True)
    for modality, values in read.items():
        kinds, kind_of = MODALITIES[modality][1], f"modalities.{modality}.modality={modality}"
        source = planted(modality, values, kinds)
        show(modality, "baseline features", source, None, {"overrides": [kind_of, "data.workers=0"], **at}, kinds)
        if modality == "text":
            lower = {"overrides": ["modalities.text.modality={name: text, lower: true}", "data.workers=0"]}
            show(modality, "baseline features, lower: true", source, None, lower, kinds)
        if modality == "image" and asked.steps:
            changes = ["modalities.image.encoder={name: cnn, width: 16}", "data.workers=0", "evaluate.evaluators={}"]
            changes += [f"train.steps={asked.steps}", "train.accelerator=cpu", "optimizer.lr=0.06", "data.cache=ram"]
            changes += ["evaluate.every=null", "data.val=0", "data.test=0"]
            with tempfile.TemporaryDirectory() as folder:
                records = ArraysSource({"image": images(asked.data, 5 * RECORDS)})
                sensorium.fit("simclr-cifar10", changes, source=records, run_dir=Path(folder) / "run")
                by = f"SimCLR, {asked.steps} steps"
                show(modality, by, source, Path(folder) / "run", {"device": "cpu"}, kinds)
    if asked.centred:
        return
    print("\n| modality | knn | lof | isolation forest |\n| --- | --- | --- | --- |", flush=True)
    for modality, values in read.items():
        show_outliers(modality, values, [f"modalities.{modality}.modality={modality}", "data.workers=0"])


if __name__ == "__main__":
    main()
