"""How fast two SimCLR views are made: this library, lightly, torchvision and kornia, in one run, side by side.

    python docs/benchmarks/image_views.py --sizes 32 224 --batch 128 --workers 2 --seconds 5

Every contender makes two views (crop, flip, color jitter, gray; blur from 64 pixels) of the same images, kept in
memory in its preferred form, with its own defaults otherwise. Each worker is a process with one thread. Contenders
take turns, so that a busy machine slows all of them; the best turn of each counts. Images a second are those of all
workers together; CPU time is what one image costs, both views, whoever else used the machine, and the last column
compares it. Every worker first frees one large block of memory, as a training process has done long before: until
then the C library hands freed memory back to the kernel, and getting it again is measured instead. Libraries that are
not installed are reported as such.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch

STRENGTHS = (0.8, 0.8, 0.8, 0.2)
BLUR_FROM = 64


def ours(size: int, batch: int) -> Callable[[], object]:
    """Batched, float32 out."""
    from sensorium.modalities.image.batch import ImageBatch
    from sensorium.modalities.image.modality import ImageModality
    from sensorium.modalities.image.views.simclr import SimCLRViews

    views, rng = SimCLRViews(ImageModality(size=size)), torch.Generator().manual_seed(0)
    return partial(views, ImageBatch(images(size, batch)), rng)


def torchvision(size: int, batch: int) -> Callable[[], object]:
    """Image by image, uint8 tensors in, float32 out."""
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
    tensors = images(size, batch)
    return lambda: [(view(image), view(image)) for image in tensors]


def lightly(size: int, batch: int) -> Callable[[], object]:
    """Image by image, PIL images in, float32 out."""
    from lightly.transforms import SimCLRTransform
    from PIL import Image

    views = SimCLRTransform(size, gaussian_blur=0.5 if size >= BLUR_FROM else 0.0, normalize=None)
    opened = [Image.fromarray(p) for p in images(size, batch).permute(0, 2, 3, 1).numpy()]
    return lambda: [views(image) for image in opened]


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
    floats = images(size, batch) / 255
    return lambda: (view(floats), view(floats))


CONTENDERS = {"sensorium": ours, "lightly": lightly, "torchvision": torchvision, "kornia": kornia}


def images(size: int, batch: int) -> torch.Tensor:
    """Return smooth colored noise, uint8 (batch, 3, size, size)."""
    coarse = torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return (torch.nn.functional.interpolate(coarse, size, mode="bilinear") * 255).to(torch.uint8)


def work(name: str, size: int, batch: int, seconds: float, start, results) -> None:
    """Make views for some seconds, from the common start on; report images, seconds and seconds of the CPU."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.zeros(30 * 2**18)  # 30 MiB, freed at once
    step = CONTENDERS[name](size, batch)
    step()
    start.wait()
    begin, cpu_begin, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - begin < seconds:
        step()
        count += batch
    results.put((count, time.perf_counter() - begin, time.process_time() - cpu_begin))


def measure(name: str, size: int, batch: int, seconds: float, workers: int) -> tuple[float, float]:
    """Return images a second of all workers together, and seconds of the CPU an image."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(workers), context.Queue()
    arguments = (name, size, batch, seconds, start, results)
    processes = [context.Process(target=work, args=arguments) for _ in range(workers)]
    for process in processes:
        process.start()
    reports = [results.get() for _ in processes]
    for process in processes:
        process.join()
    counts, _, cpu = (sum(column) for column in zip(*reports, strict=True))
    return sum(count / wall for count, wall, _ in reports), cpu / counts


def main() -> None:
    """Print one markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--libraries", nargs="+", default=list(CONTENDERS), choices=CONTENDERS, help="who takes part")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 224], help="sides of the images")
    parser.add_argument("--batch", type=int, default=128, help="images in a batch")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a turn")
    parser.add_argument("--turns", type=int, default=3, help="turns of each contender; the best counts")
    options = parser.parse_args()

    installed = {name: find_spec(name) is not None for name in options.libraries}
    print(f"Two views of each image; {options.workers} workers, batches of {options.batch}.\n")
    print("| size | library | images/s | CPU ms an image | lightly's CPU time over it |")
    print("| --- | --- | --- | --- | --- |")
    for size in options.sizes:
        turns: dict[str, list[tuple[float, float]]] = {name: [] for name, there in installed.items() if there}
        for _ in range(options.turns):
            for name, turn in turns.items():
                turn.append(measure(name, size, options.batch, options.seconds, options.workers))
        for name in installed:
            if name not in turns:
                print(f"| {size} | {name} | not installed | | |")
                continue
            rate, cost = max(rate for rate, _ in turns[name]), min(cost for _, cost in turns[name])
            ratio = f"{min(cost for _, cost in turns['lightly']) / cost:.2f}" if "lightly" in turns else ""
            label = f"{name} {importlib.metadata.version(name)}"
            print(f"| {size} | {label} | {rate:,.0f} | {1000 * cost:.3f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
