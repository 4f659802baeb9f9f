"""Peak memory and time of one step: a batch whole, the same batch through the gradient cache, and one part of it.

python docs/benchmarks/gradient_cache.py [--batch 4096] [--parts 16] [--rounds 3] [--device cpu] [--size small]

Every measurement has a process of its own; rounds are interleaved. Memory is what the step adds to the process (or to
the GPU) at its peak, beyond weights, optimizer and inputs of all parts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch

from sensorium import View
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.vit import ViT
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.text.batch import TextBatch
from sensorium.modalities.text.encoders.transformer import Transformer
from sensorium.modalities.text.modality import TextModality
from sensorium.models.learner import Learner
from sensorium.plugins.crossmodal.clip import CLIP
from sensorium.training.gradient_cache import GradientCache
from sensorium.types import RecordBatch

SIZES = {
    "small": {"size": 32, "patch": 8, "width": 128, "depth": 4, "heads": 2, "length": 16},
    "base": {"size": 224, "patch": 16, "width": 768, "depth": 12, "heads": 12, "length": 77},
}
WAYS = ("whole", "cached", "part")


def learner_of(options: dict, device: str) -> Learner:
    """A vision transformer and a text transformer under CLIP's loss."""
    torch.manual_seed(0)
    image, text = ImageModality(options["size"]), TextModality("open_clip", length=options["length"])
    sizes = {key: options[key] for key in ("width", "depth", "heads")}
    towers = {"image": ViT(image, patch=options["patch"], **sizes), "text": Transformer(text, **sizes)}
    return Learner(towers, CLIP(dim=256)).to(device).train()


def parts_of(options: dict, batch: int, parts: int, device: str) -> list[RecordBatch]:
    """Random images and texts."""
    rng, made = torch.Generator().manual_seed(0), []
    size, length = options["size"], options["length"]
    for rows in torch.arange(batch).tensor_split(parts):
        n = len(rows)
        pixels = torch.randint(0, 256, (n, 3, size, size), generator=rng, dtype=torch.uint8)
        ids = torch.randint(5, 40_000, (n, length), generator=rng)
        batches = {"image": ImageBatch(pixels), "text": TextBatch(ids, torch.ones_like(ids, dtype=torch.bool))}
        made.append(RecordBatch([str(int(row)) for row in rows], batches, dict.fromkeys(batches)).to(device))
    return made


def views_of(records: RecordBatch) -> dict[str, list[View]]:
    """The values themselves."""
    return {name: [View(b, modality=name)] for name, b in records.batches.items()}


def step(learner: Learner, records: list[RecordBatch], device: str) -> None:
    """One forward and backward; of several parts, one loss over all."""
    half = torch.autocast(device, torch.bfloat16, enabled=device == "cuda")
    views = [views_of(part) for part in records]
    if len(records) == 1:
        with half:
            loss = learner(views[0]).loss
        loss.backward()
        return
    cache = GradientCache(views, learner, 0)
    with half:
        loss = learner(cache.views, cache.loss).loss
    loss.backward()
    for number, of_part in enumerate(views):
        with half:
            loss = learner(of_part, cache.replay(number)).loss
        loss.backward()


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Time one step and take its peak memory, in this process."""
    torch.set_num_threads(1)
    options, device = SIZES[args.size], args.device
    learner = learner_of(options, device)
    batch = args.batch // args.parts if args.way == "part" else args.batch
    step(learner, parts_of(options, 8, 2, device), device)  # gradients are there, kernels are warm
    records = parts_of(options, batch, args.parts if args.way == "cached" else 1, device)
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.perf_counter()
    step(learner, records, device)
    if device == "cuda":
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": time.perf_counter() - start, "bytes": peak - before, "batch": batch}


def main() -> None:
    """Measure every way, round after round, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--parts", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=WAYS)
    parser.add_argument("--way", choices=WAYS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args)))
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in args.ways}
    for _ in range(args.rounds):
        for way in args.ways:
            command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{way}: {done.stderr.strip().splitlines()[-1]}")
            else:
                found[way].append(json.loads(done.stdout))
    print("| | records | peak memory | time |\n|---|---|---|---|")
    for way, results in found.items():
        if results:
            seconds, peak = (sorted(r[key] for r in results)[len(results) // 2] for key in ("seconds", "bytes"))
            print(f"| {way} | {results[0]['batch']:,} | {peak / 2**20:,.0f} MiB | {seconds:.2f} s |")


if __name__ == "__main__":
    main()
