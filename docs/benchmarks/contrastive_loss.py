"""Cost of a contrastive loss on a CPU: this library, its own dense form, open_clip, pytorch-metric-learning.

    python docs/benchmarks/contrastive_loss.py --rows 4096 8192 16384 --width 256 --turns 3

Forward and backward of CLIP's loss and of NT-Xent, on the same unit rows, in fp32. Every case is a process of its own
that imports everything first and then warms up on few rows; "extra memory" is how far its peak rises above what it
was when the rows had been made (Linux). Seconds are CPU time, which other work does not lengthen; with more than one
thread it includes idle waiting, so one thread is the default. Contenders take turns; the best time and the largest
memory of each count.
Libraries that are not installed are reported as such.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

WARM_UP = 256
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Two blocks of unit rows (B, D) and the logit scale, to a loss."""


def sensorium_clip() -> Loss:
    """CLIP's loss as users call it."""
    from sensorium import losses

    return losses.clip


def dense_clip() -> Loss:
    """The same with the similarity matrix in memory."""
    return _dense(sensorium_clip())


def open_clip_clip() -> Loss:
    """`ClipLoss` of open_clip."""
    from open_clip.loss import ClipLoss

    return ClipLoss()


def sensorium_nt_xent() -> Loss:
    """NT-Xent as users call it."""
    from sensorium import losses

    return lambda x, y, scale: losses.nt_xent(x, y, 1 / scale)


def dense_nt_xent() -> Loss:
    """The same with the similarity matrix in memory."""
    return _dense(sensorium_nt_xent())


def metric_learning_nt_xent() -> Loss:
    """`SupConLoss` of pytorch-metric-learning, which is NT-Xent where each row has one positive.

    Its `NTXentLoss` compares every positive pair with every negative one: 550 GB at 4,096 pairs.
    """
    from pytorch_metric_learning.losses import SupConLoss

    def loss(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        labels = torch.arange(len(x)).repeat(2)
        return SupConLoss(temperature=1 / scale.item())(torch.cat([x, y]), labels)

    return loss


def _dense(loss: Loss) -> Loss:
    from sensorium.losses import engine

    def run(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        with patch.object(engine, "streamed_sums", engine.dense_sums):
            return loss(x, y, scale)

    return run


CASES = {
    "clip": {
        "sensorium": (sensorium_clip, "sensorium"),
        "dense": (dense_clip, "sensorium"),
        "open_clip": (open_clip_clip, "open_clip"),
    },
    "nt_xent": {
        "sensorium": (sensorium_nt_xent, "sensorium"),
        "dense": (dense_nt_xent, "sensorium"),
        "pytorch-metric-learning": (metric_learning_nt_xent, "pytorch_metric_learning"),
    },
}
"""Loss to contender to what makes it, and the package it needs."""


def step(loss: Loss, rows: int, width: int, scale: float) -> dict[str, float]:
    """Return seconds and extra bytes of one forward and backward."""
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.nn.functional.normalize(torch.randn(rows, width, generator=rng), dim=1) for _ in range(2))
    x.requires_grad_(), y.requires_grad_()
    scale_1 = torch.tensor(scale, requires_grad=True)
    gc.collect()
    before, start = _status("VmRSS"), time.process_time()
    value = loss(x, y, scale_1)
    value.backward()
    return {"seconds": time.process_time() - start, "extra": _status("VmHWM") - before, "loss": value.item()}


def _status(field: str) -> int:
    """Return a number of this process's memory in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(kilobytes) * 1024


def measure(options: argparse.Namespace, kind: str, name: str, rows: int) -> dict[str, float]:
    """Run one case in a process of its own."""
    case = [kind, name, str(rows), str(options.width), str(options.scale), str(options.threads)]
    done = subprocess.run([sys.executable, __file__, "--case", *case], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"seconds": float("inf"), "extra": float("inf")}  # out of memory
    return json.loads(done.stdout.splitlines()[-1])


def one_case(kind: str, name: str, rows: str, width: str, scale: str, threads: str) -> None:
    """Print the metrics of one case as JSON."""
    torch.set_num_threads(int(threads))
    loss = CASES[kind][name][0]()
    step(loss, WARM_UP, int(width), float(scale))
    print(json.dumps(step(loss, int(rows), int(width), float(scale))))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[4096, 8192, 16384])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--scale", type=float, default=1 / 0.07)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--losses", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--case", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        one_case(*options.case)
        return
    print("| loss | pairs | contender | seconds | times ours | extra memory, MB | times ours |")
    print("| --- | --: | --- | --: | --: | --: | --: |")
    for kind in options.losses:
        for rows in options.rows:
            there = [name for name, (_, package) in CASES[kind].items() if find_spec(package)]
            turns = [{name: measure(options, kind, name, rows) for name in there} for _ in range(options.turns)]
            best = {n: (min(t[n]["seconds"] for t in turns), max(t[n]["extra"] for t in turns)) for n in there}
            for name in CASES[kind]:
                if name not in best:
                    print(f"| {kind} | {rows} | {name} | not installed | | | |")
                    continue
                (seconds, extra), (ours, least) = best[name], best["sensorium"]
                metrics = f"{seconds:.2f} | {seconds / ours:.2f} | {extra / 1e6:.0f} | {extra / least:.1f}"
                print(f"| {kind} | {rows} | {name} | {metrics} |", flush=True)


if __name__ == "__main__":
    main()
