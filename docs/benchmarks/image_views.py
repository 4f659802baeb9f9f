"""How fast two SimCLR views are made: this library, albumentations, lightly, torchvision and kornia, side by side.

    python docs/benchmarks/image_views.py --cases 32:32:512 32:32:32 256:224:64 --workers 1 --seconds 3 --turns 2

Every contender makes two views (crop, flip, color jitter with hue .2, gray; blur .5 from 64 pixels) of the same images,
kept in memory in its preferred form, with its own defaults otherwise. Each worker is a process with one thread.
Contenders take turns, so that a busy machine slows all of them; the best turn of each counts. Images a second are those
of all workers together; CPU time is what one image costs, both views, whoever else used the machine, and the last
columns compare it. Every worker first frees one large block of memory, as a training process has done long before:
until then the C library hands freed memory back to the kernel, and getting it again is measured instead. Libraries that
are not installed are reported as such.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import multiprocessing
import os
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch

STRENGTHS = (0.8, 0.8, 0.8, 0.2)
BLUR_FROM = 64


def ours(source: int, size: int, batch: int) -> Callable[[], object]:
    """Batched, float32 out."""
    from sensorium.modalities.image.batch import ImageBatch
    from sensorium.modalities.image.modality import ImageModality
    from sensorium.modalities.image.views.simclr import SimCLRViews

    views, rng = SimCLRViews(ImageModality(size=size)), torch.Generator().manual_seed(0)
    return partial(views, ImageBatch(images(source, batch)), rng)


def albumentations(source: int, size: int, batch: int) -> Callable[[], object]:
    """Image by image, uint8 arrays in, float32 out; the blur with the same kernel as ours, faster than its default."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would look for a newer version on the network
    import albumentations as A
    import cv2

    cv2.setNumThreads(1)
    blur = [A.GaussianBlur(blur_range=(13, 13), sigma_range=(0.1, 2.0), p=0.5)] if size >= BLUR_FROM else []
    brightness, contrast, saturation = ((1 - strength, 1 + strength) for strength in STRENGTHS[:3])
    view = A.Compose(
        [
            A.RandomResizedCrop(size=(size, size)),
            A.HorizontalFlip(p=0.5),
            A.ColorJitter(brightness, contrast, saturation, (-STRENGTHS[3], STRENGTHS[3]), p=0.8),
            A.ToGray(p=0.2),
            *blur,
            A.ToFloat(max_value=255),
            A.ToTensorV2(),
        ]
    )
    arrays = list(images(source, batch).permute(0, 2, 3, 1).contiguous().numpy())
    return lambda: [torch.stack([view(image=array)["image"] for array in arrays]) for _ in range(2)]


def torchvision(source: int, size: int, batch: int) -> Callable[[], object]:
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
    tensors = images(source, batch)
    return lambda: [(view(image), view(image)) for image in tensors]


def lightly(source: int, size: int, batch: int) -> Callable[[], object]:
    """Image by image, PIL images in, float32 out."""
    from lightly.transforms import SimCLRTransform
    from PIL import Image

    views = SimCLRTransform(size, gaussian_blur=0.5 if size >= BLUR_FROM else 0.0, normalize=None)
    opened = [Image.fromarray(p) for p in images(source, batch).permute(0, 2, 3, 1).numpy()]
    return lambda: [views(image) for image in opened]


def kornia(source: int, size: int, batch: int) -> Callable[[], object]:
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
    floats = images(source, batch) / 255
    return lambda: (view(floats), view(floats))


CONTENDERS = {
    "sensorium": ours,
    "albumentations": albumentations,
    "lightly": lightly,
    "torchvision": torchvision,
    "kornia": kornia,
}
DISTRIBUTIONS = {"albumentations": "albumentationsx"}
"""Names of distributions that differ from those of their packages."""
RIVALS = ("albumentations", "lightly")
"""With whom all are compared."""


def images(size: int, batch: int) -> torch.Tensor:
    """Return smooth colored noise, uint8 (batch, 3, size, size)."""
    coarse = torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return (torch.nn.functional.interpolate(coarse, size, mode="bilinear") * 255).to(torch.uint8)


def work(name: str, case: tuple[int, int, int], seconds: float, start, results) -> None:
    """Make views for some seconds, from the common start on; report images, seconds and seconds of the CPU."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.zeros(30 * 2**18)  # 30 MiB, freed at once
    step = CONTENDERS[name](*case)
    step()
    start.wait()
    begin, cpu_begin, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - begin < seconds:
        step()
        count += case[2]
    results.put((count, time.perf_counter() - begin, time.process_time() - cpu_begin))


def measure(name: str, case: tuple[int, int, int], seconds: float, workers: int) -> tuple[float, float]:
    """Return images a second of all workers together, and seconds of the CPU an image."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(workers), context.Queue()
    arguments = (name, case, seconds, start, results)
    processes = [context.Process(target=work, args=arguments) for _ in range(workers)]
    for process in processes:
        process.start()
    reports = [results.get() for _ in processes]
    for process in processes:
        process.join()
    counts, _, cpu = (sum(column) for column in zip(*reports, strict=True))
    return sum(count / wall for count, wall, _ in reports), cpu / counts


def case_of(text: str) -> tuple[int, int, int]:
    """Return the side of the images, that of the views, and the images of a batch."""
    source, size, batch = map(int, text.split(":"))
    return source, size, batch


def main() -> None:
    """Print one markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--libraries", nargs="+", default=list(CONTENDERS), choices=CONTENDERS, help="who takes part")
    parser.add_argument(
        "--cases",
        type=case_of,
        nargs="+",
        default=[(32, 32, 512), (32, 32, 32), (256, 224, 64)],
        metavar="SOURCE:SIZE:BATCH",
        help="side of the images, side of the views, images in a batch",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a turn")
    parser.add_argument("--turns", type=int, default=2, help="turns of each contender; the best counts")
    options = parser.parse_args()

    installed = {name: find_spec(name) is not None for name in options.libraries}
    print(f"Two views of each image; workers: {options.workers}.\n")
    over = "".join(f" CPU time of {rival} over it |" for rival in RIVALS)
    print(f"| case | library | images/s | CPU ms an image |{over}")
    print("| --- | --- | ---: | ---: |" + " ---: |" * len(RIVALS))
    for case in options.cases:
        source, size, batch = case
        turns: dict[str, list[tuple[float, float]]] = {name: [] for name, there in installed.items() if there}
        for _ in range(options.turns):
            for name, turn in turns.items():
                turn.append(measure(name, case, options.seconds, options.workers))
        costs = {name: min(cost for _, cost in turn) for name, turn in turns.items()}
        for name in installed:
            if name not in turns:
                print(f"| {source} to {size} px, batch {batch} | {name} | not installed | |" + " |" * len(RIVALS))
                continue
            rate = max(rate for rate, _ in turns[name])
            ratios = (f"{costs[rival] / costs[name]:.2f}" if rival in costs else "" for rival in RIVALS)
            label = f"{name} {importlib.metadata.version(DISTRIBUTIONS.get(name, name))}"
            print(
                f"| {source} to {size} px, batch {batch} | {label} | {rate:,.0f} | {1000 * costs[name]:.3f} |"
                + "".join(f" {ratio} |" for ratio in ratios),
                flush=True,
            )


if __name__ == "__main__":
    main()
