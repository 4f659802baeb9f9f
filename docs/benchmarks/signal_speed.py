"""How fast series and clips are decoded and changed, beside plain loops over single samples, in one run.

    python docs/benchmarks/signal_speed.py --seconds 2 --turns 3

Every result is by CPU time of one thread. The first table has every registered view generator of both modalities that
changes anything, with its defaults (most make two views), on 128 series of 3 x 512 values or 128 clips of 1 s at 16
kHz. The second has single changes beside the same change written by hand for one series or one clip at a time, in
numpy and scipy, as examples of augmentation have it (Um et al. 2017), or with torchaudio. The third decodes files that
are made on the spot, clips of 5 s in stereo at 44.1 kHz to mono at 16 kHz. The last is the fraction of its time that a
TS2Vec training waits for data, the run's `data_wait`. The two sides of a ratio take turns; the median of the turns
counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio
from scipy.interpolate import CubicSpline

import sensorium
from sensorium.data.arrays import ArraysSource
from sensorium.modalities.audio.modality import AudioModality
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.timeseries.modality import TimeSeriesModality
from sensorium.modalities.timeseries.sources.files import SeriesFiles
from sensorium.modalities.timeseries.sources.table import SeriesTable
from sensorium.modalities.timeseries.views import amplitude, warps
from sensorium.registration.discovery import load_extensions

BATCH, CHANNELS, STEPS, RATE = 128, 3, 512, 16000
SIGMA, KNOTS = 0.2, 6
AUDIO_FORMATS = {"wav": "PCM_16", "flac": "PCM_16", "mp3": "MPEG_LAYER_III"}
Work = Callable[[], object]


def series(count: int = BATCH) -> np.ndarray:
    """Return random walks, float32 (count, 3, 512)."""
    steps = np.random.default_rng(0).standard_normal((count, CHANNELS, STEPS))
    return (steps.cumsum(2) / 10).astype(np.float32)


def clips(seconds: float, count: int, channels: int = 1, rate: int = RATE) -> np.ndarray:
    """Return noise with a tone in it, float32 (count, channels, samples)."""
    time_S = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal((count, channels, len(time_S)))
    return (0.3 * np.sin(2 * np.pi * 440 * time_S) + 0.05 * noise).astype(np.float32)


def rates(works: dict[str, tuple[Work, int]], seconds: float, turns: int) -> dict[str, float]:
    """Return how many samples a second of CPU time each piece of work gets done; they take turns."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for work, _ in works.values():
        work()
    for _ in range(turns):
        for name, (work, count) in works.items():
            begin, done = time.process_time(), 0
            while time.process_time() - begin < seconds / turns:
                work()
                done += count
            found[name].append(done / (time.process_time() - begin))
    return {name: statistics.median(turn) for name, turn in found.items()}


def generators() -> dict[str, tuple[Work, int]]:
    """Return the registered view generators of both modalities, on batches of theirs."""
    sensors = TimeSeriesModality(channels=CHANNELS, scale="none")
    audio = AudioModality(sample_rate=RATE)
    audio.fit(list(clips(1.0, 8)))
    batches = {
        "timeseries": (sensors, SignalBatch.join(list(series()))),
        "audio": (audio, SignalBatch.join(list(clips(1.0, BATCH)))),
    }
    works = {}
    for spec in load_extensions().registry.specs("views"):
        if spec.modality in batches and spec.name != "plain":  # which does nothing
            modality, batch = batches[spec.modality]
            views = partial(spec.load()(modality), batch, torch.Generator().manual_seed(0))
            works[f"{spec.modality} | {spec.name}"] = views, BATCH
    return works


def curve(noise_rng: np.random.Generator) -> np.ndarray:
    """Return a smooth curve around 1, float64 (512,), as one writes it for a single series."""
    knots = np.linspace(0, STEPS - 1, KNOTS)
    return CubicSpline(knots, noise_rng.normal(1, SIGMA, KNOTS))(np.arange(STEPS))


def warped(x_CT: np.ndarray, noise_rng: np.random.Generator) -> np.ndarray:
    """Return one series under a warped clock."""
    clock = np.cumsum(curve(noise_rng))
    clock = (clock - clock[0]) / (clock[-1] - clock[0]) * (STEPS - 1)
    return np.stack([np.interp(np.arange(STEPS), clock, x_T) for x_T in x_CT])


def pairs() -> dict[str, dict[str, tuple[Work, int]]]:
    """Return changes, each as a batch and by a loop over single samples that ends in a batch."""
    many = series()
    batch, rng, noise_rng = SignalBatch.join(list(many)), torch.Generator().manual_seed(0), np.random.default_rng(0)
    batched = {
        "jitter": lambda: amplitude.jitter(batch, SIGMA, rng),
        "scaling": lambda: amplitude.scaling(batch, 1.0, SIGMA, "series", rng),
        "magnitude warp": lambda: amplitude.magnitude_warp(batch, SIGMA, KNOTS, rng),
        "time warp": lambda: warps.time_warp(batch, SIGMA, KNOTS, rng),
    }
    single: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "jitter": lambda x_CT: x_CT + noise_rng.normal(0, SIGMA, x_CT.shape),
        "scaling": lambda x_CT: x_CT * noise_rng.normal(1, SIGMA),
        "magnitude warp": lambda x_CT: x_CT * curve(noise_rng),
        "time warp": lambda x_CT: warped(x_CT, noise_rng),
    }

    def loop(change: Callable[[np.ndarray], np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack([change(x_CT) for x_CT in many]).astype(np.float32))

    found = {
        name: {"batch": (work, BATCH), "loop": (partial(loop, single[name]), BATCH)} for name, work in batched.items()
    }
    clips_batch = SignalBatch.join(list(clips(1.0, BATCH)))
    audio = AudioModality(sample_rate=RATE)
    front = audio.front_end
    mels = torchaudio.transforms.MelSpectrogram(RATE, front.n_fft, front.window, front.hop, 60.0, n_mels=audio.n_mels)
    found["log-mels"] = {
        "batch": (lambda: front(clips_batch), BATCH),
        "loop": (lambda: torch.stack([(mels(x_CS) + 1e-6).log() for x_CS in clips_batch.values]), BATCH),
    }
    return found


def files(folder: Path) -> dict[str, tuple[Work, int]]:
    """Write files of series and of clips; return what reads them."""
    many = series()
    lines = [":".join(",".join(f"{v:.4f}" for v in x_T) for x_T in x_CT) + ":a" for x_CT in many]
    (folder / "walks.ts").write_text("@classLabel true a\n@data\n" + "\n".join(lines) + "\n")
    rows = [
        f"{number},{step},{','.join(f'{v:.4f}' for v in x_CT[:, step])}"
        for number, x_CT in enumerate(many)
        for step in range(STEPS)
    ]
    (folder / "walks.csv").write_text("id,time,a,b,c\n" + "\n".join(rows) + "\n")
    works: dict[str, tuple[Work, int]] = {
        "series of 3 x 512 values | `.ts`": (lambda: SeriesFiles(str(folder / "walks.ts")), BATCH),
        "series of 3 x 512 values | CSV": (lambda: SeriesTable(str(folder / "walks.csv"), id="id", time="time"), BATCH),
    }
    audio = AudioModality(sample_rate=RATE)
    (stereo_CS,) = clips(5.0, 1, channels=2, rate=44100)
    for ending, subtype in AUDIO_FORMATS.items():
        path = folder / f"tone.{ending}"
        soundfile.write(path, stereo_CS.T, 44100, subtype, format=ending.upper())
        works[f"clips of 5 s | {ending.upper()}"] = (partial(audio.decode, str(path)), 1)
    return works


def waiting(folder: Path, steps: int) -> tuple[float, float]:
    """Return the fraction of its time that a TS2Vec training waited for data, and its records a second."""
    source = ArraysSource({"timeseries": list(series())})
    changes = [f"train.steps={steps}", "evaluate.evaluators={}", "data.test=0", "log.loggers={}"]
    sensorium.fit("ts2vec", changes, source=source, run_dir=folder / "run")
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "data_wait" in line]
    fraction, rate = (statistics.mean(line[key] for line in lines) for key in ("data_wait", "records_per_second"))
    return fraction, rate


def main() -> None:
    """Measure and print four tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="CPU seconds for each line")
    parser.add_argument("--turns", type=int, default=3, help="turns of each; the median counts")
    parser.add_argument("--steps", type=int, default=40, help="steps of the training")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.zeros(30 * 2**18)  # 30 MiB, freed at once: the C library then keeps freed memory, as late in a training

    print("| modality | views | samples/s |\n| --- | --- | ---: |")
    for name, rate in rates(generators(), asked.seconds, asked.turns).items():
        print(f"| {name} | {rate:,.0f} |")
    print("\n| change | batch, samples/s | loop, samples/s | ratio |\n| --- | ---: | ---: | ---: |")
    for name, pair in pairs().items():
        found = rates(pair, asked.seconds, asked.turns)
        print(f"| {name} | {found['batch']:,.0f} | {found['loop']:,.0f} | {found['batch'] / found['loop']:.1f} |")
    with tempfile.TemporaryDirectory() as scratch:
        print("\n| what | file | samples/s |\n| --- | --- | ---: |")
        for name, rate in rates(files(Path(scratch)), asked.seconds, asked.turns).items():
            print(f"| {name} | {rate:,.0f} |")
        fraction, rate = waiting(Path(scratch), asked.steps)
    print(f"\nTS2Vec, {asked.steps} steps: {fraction:.1%} of the time waiting for data, {rate:,.0f} series/s.")


if __name__ == "__main__":
    main()
