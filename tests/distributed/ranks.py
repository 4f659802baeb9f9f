"""Run a function on several gloo ranks and collect what each returns."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from sensorium.parallel import host_group

multiprocessing.set_forkserver_preload(["tests.toys", "tests.golden.pairs", "torch.nn.parallel", "torch_geometric.nn"])
"""What ranks import is imported once, in a server that they are forked from."""


def on_ranks(world: int, function: Callable[..., Any], folder: Path, *args: Any) -> list[Any]:
    """Return what `function(rank, world, *args)` returns on each of `world` ranks; it must be picklable."""
    mp.start_processes(_one_rank, (world, function, str(folder), args), nprocs=world, start_method="forkserver")
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(world)]


def _one_rank(rank: int, world: int, function: Callable[..., Any], folder: str, args: tuple) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    try:
        torch.save(function(rank, world, *args), Path(folder) / f"rank-{rank}.pt")
    finally:
        host_group.leave()
    os._exit(0)  # what it returns is written: a process that tidies up beside gloo's threads may abort
