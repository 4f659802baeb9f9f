"""SimCLR on CIFAR-10 end to end: this library beside lightly in a plain PyTorch loop of its own, on the same cores.

    python docs/benchmarks/end_to_end.py --train cifar10-train.parquet --test cifar10-test.parquet

Both train the same small CNN with the same batch, steps, optimizer and projection head, each with its own records,
views, loader and loss. Time is that of the whole training, from the table of encoded images to the last step; the
encoders are then compared by kNN on the same records. The two take turns; the best turn of each counts.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

import sensorium
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.cnn import CNN
from sensorium.modalities.image.modality import ImageModality
from sensorium.neighbors.similarity import nearest_neighbors

LR, MOMENTUM, WEIGHT_DECAY, TEMPERATURE, WIDTH, DIM, NEIGHBORS = 0.06, 0.9, 5e-4, 0.2, 256, 128, 20


def ours(args: argparse.Namespace) -> tuple[float, nn.Module]:
    """Train with this library; returns the seconds and the encoder."""
    recipe = {
        "name": "end-to-end",
        "data": {
            "source": {"name": "table", "splits": {"train": args.train}, "columns": {"image": "image"}},
            "batch": args.batch,
            "cache": "ram",
            "val": 0,
            "test": 0,
        },
        "modalities": {"image": {"modality": {"name": "image", "size": 32}, "views": "simclr", "encoder": "cnn"}},
        "objective": {"name": "simclr", "temperature": TEMPERATURE, "width": WIDTH, "dim": DIM},
        "optimizer": {"name": "sgd", "lr": LR, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY},
        "train": {"steps": args.steps, "accelerator": "cpu", "grad_clip": None},
        "log": {"loggers": {}},
    }
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        model = sensorium.fit(recipe, run_dir=Path(folder) / "run")
        return time.perf_counter() - started, model.learner.encoders["image"]


def lightly(args: argparse.Namespace) -> tuple[float, nn.Module]:
    """Train with lightly's transform, projection head and loss; returns the seconds and the encoder."""
    from lightly.loss import NTXentLoss
    from lightly.models.modules.heads import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform

    started = time.perf_counter()
    data = EncodedImages(args.train, SimCLRTransform(input_size=32, gaussian_blur=0.0))
    loader = torch.utils.data.DataLoader(data, args.batch, shuffle=True, drop_last=True, num_workers=args.workers)
    torch.manual_seed(0)
    encoder = CNN(ImageModality(size=32))
    head, loss_of = SimCLRProjectionHead(encoder.dim, WIDTH, DIM), NTXentLoss(temperature=TEMPERATURE)
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(weights, LR, MOMENTUM, weight_decay=WEIGHT_DECAY)
    steps = max(args.steps, 1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    done = 0
    while done < steps:
        for first, second in loader:
            features = [head(encoder.blocks(x_BCHW).mean(dim=(2, 3))) for x_BCHW in (first, second)]
            optimizer.zero_grad()
            loss_of(*features).backward()
            optimizer.step()
            schedule.step()
            done += 1
            if done == steps:
                break
    return time.perf_counter() - started, encoder


class EncodedImages(torch.utils.data.Dataset):
    """Images of a table's column, decoded at each access, as a folder of files would be."""

    def __init__(self, path: str, transform: Callable) -> None:
        self.encoded = [image["bytes"] for image in pq.read_table(path)["image"].to_pylist()]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int) -> list[Tensor]:
        from PIL import Image

        return self.transform(Image.open(io.BytesIO(self.encoded[index])).convert("RGB"))


def accuracy(encoder: nn.Module, args: argparse.Namespace) -> float:
    """Return the kNN accuracy of an encoder, every neighbor one vote."""
    (train_ND, train_N), (test_MD, test_M) = (features(encoder, path, args.probe) for path in (args.train, args.test))
    _, rows_MK = nearest_neighbors(test_MD, train_ND, NEIGHBORS)
    votes_MC = np.eye(10)[train_N[rows_MK]].sum(1)
    return float((votes_MC.argmax(1) == test_M).mean())


@torch.inference_mode()
def features(encoder: nn.Module, path: str, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, D) and labels (N,) of the first records of a table."""
    table, modality = pq.read_table(path).slice(0, most), ImageModality(size=32)
    examples = [modality.decode(image["bytes"]) for image in table["image"].to_pylist()]
    encoder.eval()
    chunks = [modality.collate(examples[i : i + 512]) for i in range(0, len(examples), 512)]
    assert all(isinstance(chunk, ImageBatch) for chunk in chunks)
    return torch.cat([encoder(chunk).pooled for chunk in chunks]).numpy(), np.array(table["label"].to_pylist())


def main() -> None:
    """Let both take turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", default="cifar10-train.parquet")
    parser.add_argument("--test", default="cifar10-test.parquet")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=195)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, help="loader processes of lightly's loop")
    parser.add_argument("--probe", type=int, default=10_000, help="records of either part that kNN is measured on")
    args = parser.parse_args()
    contenders = {"sensorium": ours, "lightly": lightly}
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(args.turns):
        for name, contender in contenders.items():
            seconds, encoder = contender(args)
            results[name].append((args.steps * args.batch / seconds, accuracy(encoder, args)))
    print("| library | records/s | kNN accuracy |\n| --- | ---: | ---: |")
    for name, turns in results.items():
        print(f"| {name} | {max(rate for rate, _ in turns):,.0f} | {turns[-1][1]:.3f} |")


if __name__ == "__main__":
    main()
