"""Spoken digits of speakers who were left out: the recipe `spoken-digits` beside a supervised network of its size.

    python docs/benchmarks/spoken_digits.py recordings --seeds 5 --supervised 8 --speed

`recordings` holds the files of the Free Spoken Digit Dataset, {digit}_{speaker}_{take}.wav. Training sees nine tenths
of all recordings, of every speaker, without any label. A linear probe then learns the digits of all speakers but one
and is measured on that one, for each in turn. The supervised network is the recipe's encoder and a linear layer,
trained on the labels of the same speakers for `--supervised` epochs, without views. `--speed` prints sounds a second of
decoding and of the recipe's views, on one thread.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import sensorium
from sensorium.assembly import make_plan
from sensorium.extensions import load_extensions
from sensorium.model import Model


def supervised(model: Model, folder: Path, epochs: int, seed: int) -> list[float]:
    """Return the accuracy on each speaker left out of a network trained with labels on the others."""
    modality, recipe = model.plan.modalities["audio"], model.plan.recipe
    files = sorted(folder.glob("*.wav"))
    whole = modality.log_mels(modality.collate([modality.decode(str(file)) for file in files]))
    digits = torch.tensor([int(file.stem.split("_")[0]) for file in files])
    speakers = [file.stem.split("_")[1] for file in files]
    found = []
    for left_out in sorted(set(speakers)):
        test = torch.tensor([speaker == left_out for speaker in speakers])
        torch.manual_seed(seed)
        encoder = make_plan(recipe, load_extensions()).learner().encoders["audio"]
        network = nn.ModuleList([encoder, nn.Linear(encoder.dim, 10)])
        learn, steps = (~test).nonzero()[:, 0], epochs * int((~test).sum()) // recipe.data.batch
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, steps)
        for _ in range(steps):
            rows = learn[torch.randint(len(learn), (recipe.data.batch,))]
            loss = F.cross_entropy(network[1](encoder(whole.select(rows).trimmed()).pooled), digits[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.inference_mode():
            parts = test.nonzero()[:, 0].split(256)
            guesses = [network[1](encoder(whole.select(p).trimmed()).pooled).argmax(1) for p in parts]
        found.append(float((torch.cat(guesses) == digits[test]).float().mean()))
        print(f"supervised, without {left_out}: {found[-1]:.3f}", flush=True)
    return found


def speed(model: Model, folder: Path, seconds: float = 3.0) -> None:
    """Print sounds a second of decoding files, and of making the recipe's views of a batch."""
    modality, views = model.plan.modalities["audio"], model.plan.generators["audio"]
    files = [str(file) for file in sorted(folder.glob("*.wav"))[:: max(1, len(list(folder.glob("*.wav"))) // 256)]]
    batch = modality.collate([modality.decode(file) for file in files])
    rng = torch.Generator().manual_seed(0)
    for name, work in (
        ("decoding", lambda: [modality.decode(file) for file in files]),
        ("two views, log-mels included", lambda: views(batch, rng)),
    ):
        work()
        start, count = time.process_time(), 0
        while time.process_time() - start < seconds:
            work()
            count += len(files)
        print(f"{name}: {count / (time.process_time() - start):.0f} sounds/s of CPU time", flush=True)


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--supervised", type=int, default=0, metavar="EPOCHS")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("overrides", nargs="*", help="key=value changes to the recipe")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for seed in range(asked.seeds):
            runs.append(f"{folder}/{seed}")
            changes = [f"data.source.path={asked.recordings}", f"seed={seed}", *asked.overrides]
            start = time.perf_counter()
            model = sensorium.fit("spoken-digits", changes, run_dir=runs[-1])
            print(f"seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
        for table in sensorium.evaluate(runs).values():
            print(table.markdown())
        if asked.speed:
            speed(model, asked.recordings)
        if asked.supervised:
            found = [supervised(model, asked.recordings, asked.supervised, seed) for seed in range(asked.seeds)]
            means = [statistics.mean(folds) for folds in found]
            print(f"supervised: {statistics.mean(means):.3f}, seeds {[round(mean, 3) for mean in means]}")


if __name__ == "__main__":
    main()
