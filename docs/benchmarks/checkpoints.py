"""Checkpoints of a sharded training: seconds that it waits, and memory that a rank needs beside it, by format.

    python docs/benchmarks/checkpoints.py [--ranks 2] [--width 2048] [--depth 12]

Ranks of gloo on this machine hold a transformer by FSDP2, with AdamW's moments, in fp32.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from sensorium.parallel import host_group
from sensorium.runs.checkpoint import Checkpoints
from sensorium.training.fabric import shard

WAYS = {"file": (False, False), "sharded": (True, False), "sharded, asynchronous": (True, True)}


class Peak:
    """The most memory of this process, beyond what it has at first, while the block runs."""

    def __enter__(self) -> Peak:
        self.first = self.most = resident()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.stopped.wait(0.005):
            self.most = max(self.most, resident())

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()

    @property
    def mb(self) -> float:
        """In megabytes."""
        return (self.most - self.first) / 1e6


def resident() -> int:
    """Return the anonymous memory of this process, in bytes; pages of files that it maps can be dropped."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def rank_of(rank: int, asked: argparse.Namespace, folder: Path, way: str) -> None:
    """Write a checkpoint on one rank; rank 0 prints a row."""
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=asked.ranks)
    layers = [
        nn.TransformerEncoderLayer(asked.width, 16, 4 * asked.width, batch_first=True) for _ in range(asked.depth)
    ]
    model = nn.Sequential(*layers)
    total = sum(weight.nbytes for weight in model.parameters())
    shard(model, init_device_mesh("cpu", (asked.ranks,), mesh_dim_names=("data_parallel",)))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(1, 4, asked.width)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    sharded, asynchronous = WAYS[way]
    checkpoints = Checkpoints(folder / way, 1, sharded, asynchronous)
    dist.barrier()
    with Peak() as peak:
        start = time.perf_counter()
        checkpoints.begin(1, model, optimizer, {})
        if not asynchronous:
            checkpoints.finish()
        waited = time.perf_counter() - start
        checkpoints.finish()
        written = time.perf_counter() - start
    found: list = [None] * asked.ranks
    dist.all_gather_object(found, peak.mb)
    if rank == 0:
        print(f"| {way} | {3 * total / 1e6:,.0f} | {waited:.2f} | {written:.2f} | {found[0]:,.0f} | {found[-1]:,.0f} |")
    host_group.leave()


def main() -> None:
    """Start the ranks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--depth", type=int, default=6)
    asked = parser.parse_args()
    print("| format | MB of the checkpoint | seconds until the training goes on | until it is written |", end="")
    print(" MB beside it, of rank 0 | of the last rank |\n| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for way in WAYS:
        folder = Path(tempfile.mkdtemp(prefix="checkpoints-"))
        try:
            mp.spawn(rank_of, (asked, folder, way), nprocs=asked.ranks)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
