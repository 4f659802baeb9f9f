"""Spoken digits of speakers who were left out: the recipe `spoken-digits` beside a supervised network of its size.

    python docs/benchmarks/spoken_digits.py recordings --seeds 5 --speed
    python docs/benchmarks/spoken_digits.py recordings --seeds 2 --supervised 8

`recordings` has the files of the Free Spoken Digit Dataset, {digit}_{speaker}_{take}.wav. Training sees nine tenths
of all recordings, of every speaker, without any label. A linear probe then learns the digits of all speakers but one
and is measured on that one, for each in turn: on features standardized within each speaker, which the recipe asks for,
and on features as they are. `--supervised` trains the recipe's encoder and a linear layer instead, on the labels of the
same speakers for so many epochs, without views. `--speed` prints clips a second of decoding and of log-mels, on
one thread.
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
from sensorium.models.plan import Plan, make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions

PROTOCOL = "label: digit, protocol: {name: leave-one-group-out, by: speaker}, Cs: [0.01]"


def supervised(plan: Plan, folder: Path, epochs: int, seed: int) -> list[float]:
    """Return the accuracy on each speaker left out of a network trained with labels on the others."""
    modality, recipe = plan.modalities["audio"], plan.recipe
    files = sorted(folder.glob("*.wav"))
    modality.fit([str(file) for file in files])
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
            loss = F.cross_entropy(network[1](encoder(whole.select(rows).trim_padding()).pooled), digits[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.inference_mode():
            parts = test.nonzero()[:, 0].split(256)
            predictions = [network[1](encoder(whole.select(p).trim_padding()).pooled).argmax(1) for p in parts]
        found.append(float((torch.cat(predictions) == digits[test]).float().mean()))
        print(f"supervised, without {left_out}: {found[-1]:.3f}", flush=True)
    return found


def speed(plan: Plan, folder: Path, seconds: float = 3.0) -> None:
    """Print clips a second of decoding files, and of making the log-mels of a batch."""
    modality = plan.modalities["audio"]
    files = [str(file) for file in sorted(folder.glob("*.wav"))[:: max(1, len(list(folder.glob("*.wav"))) // 256)]]
    batch = modality.collate([modality.decode(file) for file in files])
    for name, work in (
        ("decoding", lambda: [modality.decode(file) for file in files]),
        ("log-mels", lambda: modality.log_mels(batch)),
    ):
        work()
        start, count = time.process_time(), 0
        while time.process_time() - start < seconds:
            work()
            count += len(files)
        print(f"{name}: {count / (time.process_time() - start):.0f} clips/s of CPU time", flush=True)


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--supervised", type=int, default=0, metavar="EPOCHS")
    parser.add_argument("--runs", type=Path, help="where runs are kept, and found when they are there")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--set", nargs="*", default=[], help="key=value changes to the recipe")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    changes = [f"data.source.path={asked.recordings}", *asked.set]
    if asked.supervised:
        plan = make_plan(read_recipe("spoken-digits", load_extensions().registry, changes), load_extensions())
        found = [supervised(plan, asked.recordings, asked.supervised, seed) for seed in range(asked.seeds)]
        means = [statistics.mean(folds) for folds in found]
        print(f"supervised: {statistics.mean(means):.3f}, seeds {[round(mean, 3) for mean in means]}")
        return
    with tempfile.TemporaryDirectory() as folder:
        runs = [(asked.runs or Path(folder)) / str(seed) for seed in range(asked.seeds)]
        for seed, run in enumerate(runs):
            if run.exists():
                continue
            start = time.process_time()
            sensorium.fit("spoken-digits", [*changes, f"seed={seed}", "evaluate.evaluators={}"], run_dir=run)
            print(f"seed {seed}: {time.process_time() - start:.0f} CPU seconds", flush=True)
        for column in ("speaker", "null"):
            measured = sensorium.evaluate(
                runs, None, [f"evaluate.evaluators={{linear: {{{PROTOCOL}, standardize_by: {column}}}}}"]
            )["linear"]
            print(measured.markdown())
            speakers = sorted({file.stem.split("_")[1] for file in asked.recordings.glob("*.wav")})
            print(f"| standardize_by {column} | {' | '.join(speakers)} |\n| --- |{' ---: |' * len(speakers)}")
            for row in measured.rows:
                means = [statistics.mean(folds) for folds in zip(*row.metrics["accuracy"].scores, strict=True)]
                print(f"| {row.name} | {' | '.join(f'{mean:.3f}' for mean in means)} |", flush=True)
        if asked.speed:
            speed(sensorium.load(runs[0]).plan, asked.recordings)


if __name__ == "__main__":
    main()
