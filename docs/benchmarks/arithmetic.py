"""Arithmetic of a large training: memory, traffic, storage and hours of CLIP with a ViT-L/14 on many GPUs.

    python docs/benchmarks/arithmetic.py [--pairs 1e9] [--batch 65536] [--gpus 64]

Counted here, on a CPU: parameters, FLOPs (torch's counter) and what a forward pass keeps for the backward pass, of the
encoders at two depths, from which those of the whole depth follow, blocks being alike; and how fast a core decodes. The
rates of the machine that is reckoned with are published ones, or assumptions: options, whose help says which.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sensorium.losses.engine.streamed import GPU_TILE
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.vit import ViT
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.text.batch import TextBatch
from sensorium.modalities.text.encoders.transformer import Transformer
from sensorium.modalities.text.modality import TextModality

GB, TIB, F32 = 1e9, 2.0**40, 4
JOINT = 768
"""Width of the joint space (ViT-L/14 of Radford et al. 2021, table 20)."""
SHALLOW, DEEPER = 1, 3
OPEN_CLIP = 32 * 400e6 / (50_800 * 3600)
"""Pairs/s of an A100: ViT-L/14, 32 passes over LAION-400M in 50,800 GPU-hours (open_clip, docs/PRETRAINED.md)."""


@dataclass(frozen=True)
class Counted:
    """One encoder.

    Args:
        parameters: their number.
        flops: of a forward and a backward pass of one record.
        kept: bytes that a forward pass keeps for the backward pass of one record, in bf16 mixed precision.
        kept_of_block: those of one block.
        inputs: bytes of the inputs of all blocks, for one record.
    """

    parameters: float
    flops: float
    kept: float
    kept_of_block: float
    inputs: float

    @property
    def checkpointed(self) -> float:
        """Bytes kept for one record with gradient checkpointing: inputs of blocks, and one block while it is redone."""
        return self.inputs + self.kept_of_block


def vit(depth: int) -> nn.Module:
    """Return the image encoder at a depth."""
    return ViT(ImageModality(224), preset="large", patch=14, depth=depth)


def text(depth: int) -> nn.Module:
    """Return the text encoder at a depth."""
    return Transformer(TextModality("open_clip", length=77), width=768, depth=depth, heads=12, causal=True, pool="end")


def images(count: int) -> ImageBatch:
    """Return random images."""
    return ImageBatch(torch.rand(count, 3, 224, 224))


def captions(count: int) -> TextBatch:
    """Return random texts of the full length."""
    return TextBatch(torch.randint(3, 40_000, (count, 77)), torch.ones(count, 77, dtype=torch.bool))


def counted(
    make: Callable[[int], nn.Module], batch: Callable[[int], object], depth: int, tokens: int, width: int
) -> Counted:
    """Count one encoder at two depths, and return it at its own."""
    found = []
    for shallow in (SHALLOW, DEEPER):
        encoder = make(shallow)
        parameters = sum(weight.numel() for weight in encoder.parameters())
        kept = kept_bytes(encoder, batch(2)) - kept_bytes(encoder, batch(1))
        found.append(np.array([parameters, flops(encoder, batch(1)), kept], dtype=float))
    block = (found[1] - found[0]) / (DEEPER - SHALLOW)
    whole = found[0] + (depth - SHALLOW) * block
    return Counted(*whole, kept_of_block=block[2], inputs=depth * tokens * width * F32)


def flops(encoder: nn.Module, batch: object) -> int:
    """Count the floating-point operations of a forward and a backward pass."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # whose products are counted
        encoder(batch).pooled.sum().backward()
    return counter.get_total_flops()


def kept_bytes(encoder: nn.Module, batch: object) -> int:
    """Count what a forward pass in bf16 mixed precision keeps for the backward pass."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        pooled = encoder(batch).pooled
    del pooled
    return sum(storages.values())


def decoded_per_second(seconds: float = 2.0) -> float:
    """Measure how many JPEG images of 256 pixels a core decodes and crops to 224."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize((256, 256), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    modality, count = ImageModality(224), 0
    modality.decode(file.getvalue())
    start = time.process_time()
    while time.process_time() - start < seconds:
        modality.decode(file.getvalue())
        count += 1
    return count / (time.process_time() - start)


def table(*rows: list[str]) -> None:
    """Print rows as Markdown, the first one as the head."""
    print(f"\n| {' | '.join(rows[0])} |\n| --- |{' ---: |' * (len(rows[0]) - 1)}")
    for row in rows[1:]:
        print(f"| {' | '.join(row)} |")


def memory(towers: list[Counted], asked: argparse.Namespace) -> None:
    """Print the memory of one GPU."""
    rows, weights = asked.batch // asked.gpus, sum(tower.parameters for tower in towers) * F32
    sides = 2 * asked.batch * JOINT * F32
    loss = [
        ("gathered features, both sides", sides),
        ("their gradients", sides),
        ("one tile of logits", GPU_TILE**2 * F32),
    ]
    strategies = {"ddp": 1, "fsdp": asked.gpus}
    print("\n## Memory of one GPU, GB")
    head = ["", *strategies]
    states = [(n, k * weights) for n, k in (("weights", 1), ("gradients", 1), ("two moments of AdamW", 2))]
    fixed = [[name, *(f"{bytes_ / by / GB:.2f}" for by in strategies.values())] for name, bytes_ in states]
    fixed += [[name, *[f"{bytes_ / GB:.2f}"] * len(strategies)] for name, bytes_ in loss]
    kept, again = sum(t.kept for t in towers), sum(t.checkpointed for t in towers)
    ways = {
        f"activations of {rows:,} pairs": rows * kept,
        "with `gradient_checkpointing`": rows * again,
        f"with `gradient_cache`, parts of {asked.part}": asked.part * kept,
        "with both": asked.part * again,
    }
    table(head, *fixed, *[[name, *[f"{bytes_ / GB:.1f}"] * len(strategies)] for name, bytes_ in ways.items()])
    held = {name: sum(b for _, b in states) / by + sum(b for _, b in loss) for name, by in strategies.items()}
    sums = [[name, *(f"{(held[s] + bytes_) / GB:.1f}" for s in strategies)] for name, bytes_ in ways.items()]
    print("\nThe sum of the upper six, and:")
    table(head, *sums)
    print(f"\nA GPU has {asked.memory:g} GB. A memory bank of {asked.batch:,} rows would add {sides / GB:.2f} GB.")


def traffic(towers: list[Counted], asked: argparse.Namespace, compute: float) -> None:
    """Print what one GPU sends in a step, and how long that takes beside the arithmetic."""
    share = (asked.gpus - 1) / asked.gpus
    weights, side = sum(t.parameters for t in towers) * F32, asked.batch * JOINT * F32
    sent = {
        "features, gathered: both sides": 2 * side * share,
        "their gradients, summed over ranks (all-reduce)": 2 * 2 * side * share,
        "gradients of weights under ddp (all-reduce)": 2 * weights * share,
        "weights twice and gradients once under fsdp": 3 * weights * share,
    }
    print("\n## What one GPU sends in a step")
    rows = [[name, f"{b / GB:.2f}", f"{b / GB / asked.network * 1e3:.0f}"] for name, b in sent.items()]
    table(["", "GB", f"ms at {asked.network:g} GB/s"], *rows)
    print(f"\nThe arithmetic of the step takes {compute * 1e3:,.0f} ms; gradients are sent while it goes on.")


def storage(asked: argparse.Namespace, per_second: float, decoded: float, weights: float) -> None:
    """Print what the storage must give, and what a checkpoint takes."""
    nodes, checkpoint = asked.gpus / asked.node, 3 * weights / GB
    per_node, total = per_second / nodes, asked.pairs * asked.kilobytes * 1e3
    print("\n## Storage")
    said = {
        "all pairs": f"{total / TIB:.1f} TiB in {asked.pairs / asked.shard:,.0f} files of {asked.shard:,} pairs",
        "a node reads": f"{per_node:,.0f} pairs/s, {per_node * asked.kilobytes / 1e3:,.0f} MB/s",
        "a node decodes": f"with {per_node / decoded:,.1f} cores, of {decoded:,.0f} images/s each",
        "a file is read in": f"{asked.shard / per_node:,.1f} s by one node",
        "the order of records": "0 bytes: a keyed permutation",
        "a checkpoint": f"{checkpoint:.1f} GB; sharded, {checkpoint / asked.gpus * 1e3:,.0f} MB of each rank",
        "it is written": f"by all nodes in {checkpoint / nodes / asked.disk:.1f} s; one: {checkpoint / asked.disk:.1f}",
    }
    table(["", ""], *([name, what] for name, what in said.items()))


def main() -> None:
    """Count, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=float, default=1e9)
    parser.add_argument("--batch", type=int, default=65_536, help="pairs of a step")
    parser.add_argument("--part", type=int, default=128, help="pairs of a part under gradient caching")
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--node", type=int, default=8, help="GPUs of a node (NVIDIA DGX H100 data sheet)")
    parser.add_argument("--peak", type=float, default=989, help="TFLOP/s, bf16 dense (H100 SXM: 1,979 with sparsity)")
    parser.add_argument("--reached", type=float, default=0.4, help="share of the peak that is reached: an assumption")
    parser.add_argument("--memory", type=float, default=80, help="GB of a GPU (H100 SXM data sheet)")
    parser.add_argument("--network", type=float, default=50, help="GB/s of a GPU: a port of 400 Gb/s (DGX H100)")
    parser.add_argument("--kilobytes", type=float, default=25, help="of a pair, as JPEG of 256 pixels: an assumption")
    parser.add_argument("--shard", type=int, default=10_000, help="pairs of a file: an assumption")
    parser.add_argument("--disk", type=float, default=1, help="GB/s at which a node writes: an assumption")
    asked = parser.parse_args()
    torch.manual_seed(0)
    towers = {"ViT-L/14": counted(vit, images, 24, 256, 1024), "text, 12 x 768": counted(text, captions, 12, 77, 768)}
    print("## Counted")
    rows = [
        [name, *(f"{x:,.0f}" for x in (t.parameters / 1e6, t.flops / 1e9, t.kept / 1e6, t.checkpointed / 1e6))]
        for name, t in towers.items()
    ]
    head = ["", "million parameters", "GFLOP of a record", "MB kept of it", "with gradient checkpointing"]
    table(head, *rows)
    both = list(towers.values())
    memory(both, asked)
    rate = asked.peak * 1e12 * asked.reached / sum(t.flops for t in both)
    traffic(both, asked, asked.batch / asked.gpus / rate)
    storage(asked, rate * asked.gpus, decoded_per_second(), sum(t.parameters for t in both) * F32)
    print("\n## Hours of one pass")
    rates = {
        f"at {asked.reached:g} of {asked.peak:g} TFLOP/s": rate,
        "with `gradient_checkpointing` or `gradient_cache`, a second forward pass": rate * 3 / 4,
        "at the rate of open_clip's ViT-L/14 on A100s": OPEN_CLIP,
    }
    rows = [[name, f"{r:,.0f}", f"{asked.pairs / r / asked.gpus / 3600:,.1f}"] for name, r in rates.items()]
    table([f"{asked.pairs / asked.batch:,.0f} steps", "pairs/s of a GPU", "hours"], *rows)


if __name__ == "__main__":
    main()
