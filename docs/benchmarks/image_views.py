"""How fast two SimCLR views are made: this library, lightly, torchvision and kornia, in one run, side by side.

    python docs/benchmarks/image_views.py --sizes 32 224 --batch 128 --workers 2 --seconds 5

Every contender makes two views (crop, flip, colour jitter, grey; blur from 64 pixels) of the same pictures, held in
memory in the form it likes best, with its own defaults otherwise. Each worker is a process with one thread. Contenders
take turns, so that a busy machine slows all of them; the best turn of each counts. Libraries that are not installed
are reported as such.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch

STRENGTHS = (0.8, 0.8, 0.8, 0.2)
BLUR_FROM = 64


def ours(size: int, batch: int) -> Callable[[], object]:
    """Batched, float32 out."""
    from sensorium.modalities.image.batch import ImageBatch
    from sensorium.modalities.image.modality import ImageModality
    from sensorium.modalities.image.views.simclr import SimCLR

    views, rng = SimCLR(ImageModality(size=size)), torch.Generator().manual_seed(0)
    return partial(views, ImageBatch(pictures(size, batch)), rng)


def torchvision(size: int, batch: int) -> Callable[[], object]:
    """Picture by picture, uint8 tensors in, float32 out."""
    from torchvision.transforms import v2

    blur = [v2.RandomApply([v2.GaussianBlur(13, (0.1, 2.0))], 0.5)] if size >= BLUR_FROM else []
    view = v2.Compose(
        [
            v2.RandomResizedCrop(size, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(*STRENGTHS)], 0.8),
            v2.RandomGrayscale(0.2),
            *blur,
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    tensors = pictures(size, batch)
    return lambda: [(view(picture), view(picture)) for picture in tensors]


def lightly(size: int, batch: int) -> Callable[[], object]:
    """Picture by picture, PIL pictures in, float32 out."""
    from lightly.transforms import SimCLRTransform
    from PIL import Image

    views = SimCLRTransform(size, gaussian_blur=0.5 if size >= BLUR_FROM else 0.0, normalize=None)
    opened = [Image.fromarray(p) for p in pictures(size, batch).permute(0, 2, 3, 1).numpy()]
    return lambda: [views(picture) for picture in opened]


def kornia(size: int, batch: int) -> Callable[[], object]:
    """Batched, float32 in and out."""
    import kornia.augmentation as K

    blur = [K.RandomGaussianBlur((13, 13), (0.1, 2.0), p=0.5)] if size >= BLUR_FROM else []
    view = K.AugmentationSequential(
        K.RandomResizedCrop((size, size)),
        K.RandomHorizontalFlip(),
        K.ColorJitter(*STRENGTHS, p=0.8),
        K.RandomGrayscale(p=0.2),
        *blur,
    )
    floats = pictures(size, batch) / 255
    return lambda: (view(floats), view(floats))


CONTENDERS = {"sensorium": ours, "lightly": lightly, "torchvision": torchvision, "kornia": kornia}


def pictures(size: int, batch: int) -> torch.Tensor:
    """Return smooth coloured noise, uint8 (batch, 3, size, size)."""
    coarse = torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return (torch.nn.functional.interpolate(coarse, size, mode="bilinear") * 255).to(torch.uint8)


def work(name: str, size: int, batch: int, seconds: float, start, results) -> None:
    """Make views for some seconds, from the common start on; report pictures a second."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    step = CONTENDERS[name](size, batch)
    step()
    start.wait()
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        step()
        count += batch
    results.put(count / (time.perf_counter() - begin))


def measure(name: str, size: int, batch: int, seconds: float, workers: int) -> float:
    """Return pictures a second of all workers together."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(workers), context.Queue()
    arguments = (name, size, batch, seconds, start, results)
    processes = [context.Process(target=work, args=arguments) for _ in range(workers)]
    for process in processes:
        process.start()
    total = sum(results.get() for _ in processes)
    for process in processes:
        process.join()
    return total


def main() -> None:
    """Print one markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 224], help="sides of the pictures")
    parser.add_argument("--batch", type=int, default=128, help="pictures in a batch")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a turn")
    parser.add_argument("--turns", type=int, default=3, help="turns of each contender; the best counts")
    options = parser.parse_args()

    installed = {name: find_spec(name) is not None for name in CONTENDERS}
    print(f"Pictures a second, two views each; {options.workers} workers, batches of {options.batch}.\n")
    print("| size | library | pictures/s | of lightly |\n| --- | --- | --- | --- |")
    for size in options.sizes:
        turns: dict[str, list[float]] = {name: [] for name, there in installed.items() if there}
        for _ in range(options.turns):
            for name, rates in turns.items():
                rates.append(measure(name, size, options.batch, options.seconds, options.workers))
        for name in CONTENDERS:
            if name not in turns:
                print(f"| {size} | {name} | not installed | |")
                continue
            best = np.max(turns[name])
            ratio = f"{best / np.max(turns['lightly']):.2f} x" if "lightly" in turns else ""
            print(f"| {size} | {name} {importlib.metadata.version(name)} | {best:,.0f} | {ratio} |")


if __name__ == "__main__":
    main()
