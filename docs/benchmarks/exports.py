"""Every format on encoders of shipped recipes: largest difference, size of the files, latency beside ours.

    OMP_NUM_THREADS=1 python docs/benchmarks/exports.py --out exports.json

Weights are random: differences and latencies do not depend on training. Nothing is read but a few values that are made
here, to which modalities are fitted. A latency is the least CPU time of `--repeats` passes over one batch, ours and the
other library's in turn, in one process and thread; their ratio is what is comparable between machines.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from sensorium.errors import SensoriumError
from sensorium.exporters.traced import Traceable
from sensorium.models.model import Model
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions

FORMATS = ("onnx", "torch-export", "timm", "huggingface", "sentence-transformers")
STANDARD_STEM = "modalities.image.encoder.stem=standard"
CASES = {
    "image: cnn (image-text)": ("image-text", "image", []),
    "image: vit (mae)": ("mae", "image", []),
    "image: resnet18 (simclr-cifar10)": ("simclr-cifar10", "image", [STANDARD_STEM]),
    "text: transformer (simcse)": ("simcse", "text", []),
    "text: transformer, causal (language-model)": ("language-model", "text", []),
    "audio: conv (byol-a)": ("byol-a", "audio", []),
    "audio: spectrogram-transformer (spoken-digits)": ("spoken-digits", "audio", []),
    "audio: wav2vec2": (
        "hubert",
        "audio",
        ["modalities.audio.encoder={name: wav2vec2, width: 64, depth: 2, heads: 2}", "objective=wav2vec2"],
    ),
    "series: dilated (ts2vec)": ("ts2vec", "timeseries", []),
    "series: inception (ts-tcc)": ("ts-tcc", "timeseries", []),
    "series: patch-transformer": ("ts-tcc", "timeseries", ["modalities.timeseries.encoder=patch-transformer"]),
    "series: channel-transformer (any-channels)": ("any-channels", "timeseries", []),
    "molecule: gine (molecules-moses)": ("molecules-moses", "molecule", []),
}
"""Row -> recipe, modality, overrides."""
BATCH = 16


def values_of(modality: str) -> list[Any]:
    """Return raw values that a modality can be fitted to."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((8, 2, 8000)).astype(np.float32) / 10
    return {
        "text": [f"the {a} of a {b}" for a in ("cat", "dog", "red ball", "blue sky") for b in ("house", "king", "sea")],
        "audio": [{"array": clip[0], "sampling_rate": 8000} for clip in noise],
        "timeseries": [series[:, :150] for series in noise],
    }.get(modality, [])


def model_of(recipe: str, name: str, overrides: list[str]) -> Model:
    """Return the model of a shipped recipe with one of its towers alone in use, and random weights."""
    extensions = load_extensions()
    plan = make_plan(read_recipe(recipe, extensions.registry, ["data.source=musical-notes", *overrides]), extensions)
    for tower, modality in plan.modalities.items():
        if not modality.is_fitted:
            modality.fit(values_of(tower))
    torch.manual_seed(0)
    return Model(plan, plan.learner())


def best_of(repeats: int, *runs: Callable[[], Any]) -> list[float]:
    """Return the least CPU seconds of each of several functions, which are called in turn."""
    best = [math.inf] * len(runs)
    for _ in range(repeats):
        for i, run in enumerate(runs):
            start = time.process_time()
            run()
            best[i] = min(best[i], time.process_time() - start)
    return best


@torch.inference_mode()
def latency(model: Model, name: str, format: str, folder: Path, repeats: int) -> tuple[float, float] | None:
    """Return seconds of a batch of ours and of a graph; None for formats that are no graphs."""
    if format not in ("onnx", "torch-export"):
        return None
    of = Traceable.of(model, name, format)
    tensors = of.batch(BATCH, True).tensors()
    if format == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
        feeds = {key: tensor.numpy() for key, tensor in tensors.items()}
        ours, theirs = best_of(repeats, lambda: of.module(*tensors.values()), lambda: session.run(None, feeds))
    else:
        loaded = torch.export.load(folder / f"{name}.pt2").module(check_guards=False)
        ours, theirs = best_of(repeats, lambda: of.module(*tensors.values()), lambda: loaded(*tensors.values()))
    return ours, theirs


def measured(case: str, formats: list[str], repeats: int) -> Iterator[dict[str, Any]]:
    """Yield what each format gives of one encoder."""
    recipe, name, overrides = CASES[case]
    model, registry = model_of(recipe, name, overrides), load_extensions().registry
    parameters = sum(p.numel() for p in model.learner.encoder(name).parameters())
    for format in formats:
        exporter = registry.find("exporters", format).load()(modality=name)
        row: dict[str, Any] = {"case": case, "format": format, "parameters": parameters}
        with TemporaryDirectory() as made:
            folder = Path(made)
            try:
                exporter.export(model, folder)
                verified = exporter.verify(model, folder)
            except SensoriumError as error:
                yield row | {"refused": str(error)}
                continue
            row |= {"difference": verified.largest, "compared": dict(verified.differences)}
            row["bytes"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            if (seconds := latency(model, name, format, folder, repeats)) is not None:
                row |= {"ours_s": seconds[0], "theirs_s": seconds[1]}
            yield row


def table(rows: list[dict[str, Any]]) -> str:
    """Return a table in Markdown: a line for each encoder, and for each format the difference, size and latency."""
    lines = [f"| encoder | weights (MB) | {' | '.join(FORMATS)} |", f"| --- | ---: |{' --- |' * len(FORMATS)}"]
    for case in dict.fromkeys(row["case"] for row in rows):
        of = {row["format"]: row for row in rows if row["case"] == case}
        weights = next(iter(of.values()))["parameters"] * 4 / 1e6
        cells = [cell(of[format]) if format in of else "" for format in FORMATS]
        lines.append(f"| {case} | {weights:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(row: dict[str, Any]) -> str:
    """Return what one format gave."""
    if "refused" in row:
        return "–"
    latency = f", × {row['theirs_s'] / row['ours_s']:.2f}" if "ours_s" in row else ""
    return f"{row['difference']:.0e}, {row['bytes'] / 1e6:.2f} MB{latency}"


def main() -> None:
    """Measure, one row after the other; rows that are on file are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("exports.json"))
    parser.add_argument("--only", nargs="*", default=list(CASES), help="rows")
    parser.add_argument("--formats", nargs="*", default=list(FORMATS))
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(args.out.read_text()) if args.out.exists() else []
    done = {(row["case"], row["format"]) for row in rows}
    for case in args.only:
        missing = [format for format in args.formats if (case, format) not in done]
        for row in measured(case, missing, args.repeats) if missing else ():
            rows.append(row)
            args.out.write_text(json.dumps(rows, indent=1))
            print(case, row["format"], row.get("refused") or cell(row), flush=True)
    order = {case: i for i, case in enumerate(CASES)}
    print(table(sorted(rows, key=lambda row: (order[row["case"]], FORMATS.index(row["format"])))))


if __name__ == "__main__":
    main()
