"""Fabric as a recipe asks for it: devices, strategy, precision."""

from __future__ import annotations

import atexit
import inspect
import os
from collections import Counter
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins import Precision
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning_fabric.strategies import DDPStrategy, ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from sensorium.devices import find_device
from sensorium.errors import RecipeError
from sensorium.launcher import Launcher, find_launcher
from sensorium.parallel import cores, host_group
from sensorium.recipe.schema import Train
from sensorium.training.allocator import keep_freed_memory
from sensorium.training.precision import precision_plugin

BLOCK = 2**18
"""Minimum number of weights that FSDP shards, and gathers, as a block of their own."""


def launching_rank() -> int:
    """Return the rank that the launcher gave this process; 0 without a launcher."""
    return find_launcher().rank


def build_fabric(train: Train) -> Fabric:
    """Return Fabric for the devices that a recipe names.

    The number of processes is that of the launcher, where one has started them all.

    Raises:
        RecipeError: when a device is not there; when nothing says where other nodes are.
    """
    accelerator = find_device(train.accelerator, "train.accelerator").type
    launcher = find_launcher()
    launcher.check()
    if not launcher.starts_all and train.nodes > 1:
        _require_address(train.nodes)
    devices: Any = launcher.local_processes if launcher.starts_all else train.devices
    nodes = launcher.nodes if launcher.starts_all else train.nodes
    if accelerator == "cuda" and isinstance(devices, int) and devices > torch.cuda.device_count():
        raise RecipeError(
            f"{launcher.name + ' started' if launcher.starts_all else 'train.devices is'} {devices}"
            f"{' processes on this node' if launcher.starts_all else ''}, but this machine has "
            f"{torch.cuda.device_count()} CUDA devices: give that many or fewer."
        )
    if train.strategy == "fsdp" and train.precision == "16-mixed":
        raise RecipeError(
            "train.precision is '16-mixed', whose loss scale the strategy fsdp does not support: use bf16-mixed."
        )
    if devices == "auto":
        devices = torch.cuda.device_count() if accelerator == "cuda" else 1
    strategy: Any = "auto"
    if train.strategy == "fsdp":  # by itself, Fabric would shard over nodes only and leave ranks of one node apart
        strategy = ModelParallelStrategy(shard, data_parallel_size=devices * nodes, tensor_parallel_size=1)
    elif devices * nodes > 1 or train.strategy == "ddp":
        strategy = DDPStrategy(find_unused_parameters=False, **without_broadcast())
    return Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy,
        plugins=[_precision(train, accelerator), _environment(launcher)],
    )


def _environment(launcher: Launcher) -> ClusterEnvironment:
    """Return where Fabric reads ranks and addresses: what it finds by itself takes every SLURM job for one of srun."""
    if launcher.name == "srun":
        os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(launcher.local_processes))  # only set where it was asked for
        return SLURMEnvironment(auto_requeue=False)
    if launcher.starts_all:
        os.environ.setdefault("LOCAL_RANK", str(launcher.rank % launcher.local_processes))
        return TorchElasticEnvironment()
    return LightningEnvironment()


def _require_address(nodes: int) -> None:
    """Raise an error where the first process of each node was started, and was not told where the others are.

    Raises:
        RecipeError: with how to start them.
    """
    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if name not in os.environ]:
        raise RecipeError(
            f"train.nodes is {nodes}, but nothing says where the other nodes are: start every node by "
            f"`torchrun --nnodes={nodes}` or `srun` (`sensorium submit` writes a SLURM script), or set "
            f"{', '.join(missing)} on each."
        )


def without_broadcast() -> dict[str, Any]:
    """Return the options of DDP that leave buffers alone, which are equal on all ranks: queues, centers, statistics."""
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    return {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}


def fabric_of_one(train: Train, device: torch.device) -> Fabric:
    """Return Fabric for one process on one device, in the precision of a recipe."""
    devices: Any = [device.index] if device.index is not None else 1
    return Fabric(
        accelerator=device.type, devices=devices, plugins=[_precision(train, device.type), LightningEnvironment()]
    )


def _precision(train: Train, accelerator: str) -> Precision:
    if accelerator == "cpu" and train.precision == "16-mixed":
        raise RecipeError("train.precision is '16-mixed', which needs a GPU: on a CPU use bf16-mixed or 32-true.")
    return precision_plugin(train, accelerator)


def launch(fabric: Fabric) -> None:
    """Start the other processes, and leave the group of all of them when this one exits.

    Fabric sees to NCCL's group only. That of gloo has threads, beside which a process that ends may abort.
    """
    fabric.launch()
    if fabric.device.type == "cpu":
        keep_freed_memory()
    atexit.register(host_group.leave)
    cores.count_sharers()


def join_ranks(device: str) -> torch.device:
    """Join the ranks that a launcher started, if there are several, and return the device of this one.

    For what embeds records and trains nothing: hosts alone exchange anything. Ranks of one host take its GPUs in order.

    Args:
        device: as `find_device` takes it.

    Raises:
        RecipeError: when the device is not there.
    """
    found = find_device(device, "--device")
    launcher = find_launcher()
    if launcher.processes < 2:
        return found
    launcher.check()
    environment = _environment(launcher)
    if found.type == "cuda" and found.index is None:
        found = find_device(f"cuda:{environment.local_rank()}", "--device")
        torch.cuda.set_device(found)
    if not dist.is_initialized():
        where = f"tcp://{environment.main_address}:{environment.main_port}"
        ranks = {"rank": launcher.rank, "world_size": launcher.processes}
        dist.init_process_group("gloo", init_method=where, timeout=host_group.TIMEOUT, **ranks)
        atexit.register(host_group.leave)
    cores.count_sharers()
    return found


def shard(learner: nn.Module, mesh: DeviceMesh, least: int = BLOCK) -> nn.Module:
    """Shard the learner's weights over the data-parallel ranks (FSDP2), block by block; teachers' blocks too.

    A rank then holds its part of the weights, and, while it runs a block, the whole of that block.

    Args:
        learner: what is trained.
        mesh: the ranks.
        least: minimum number of weights of a block.
    """
    for block in blocks_of(learner, least):
        fully_shard(block, mesh=mesh["data_parallel"])
    fully_shard(learner, mesh=mesh["data_parallel"])
    return learner


def blocks_of(module: nn.Module, least: int) -> list[nn.Module]:
    """Return the blocks of a module, inner ones first: elements of lists and sequences (layers, stages, linear maps).

    Args:
        module: the root, which is none of them.
        least: minimum number of weights of a block, those of blocks within it left out.
    """
    uses = Counter(id(parameter) for _, parameter in module.named_parameters(remove_duplicate=False))
    lists = [parent for parent in module.modules() if isinstance(parent, nn.ModuleList | nn.Sequential)]
    elements = dict.fromkeys(element for parent in lists for element in parent)
    blocks, taken = [], set[int]()
    for element in sorted(elements, key=lambda element: sum(1 for _ in element.modules())):
        own = {id(parameter): parameter.numel() for parameter in element.parameters() if id(parameter) not in taken}
        is_shared = any(uses[number] > 1 for number in own)  # its weights are read outside of it, too
        if not is_shared and sum(own.values()) >= least:
            blocks.append(element)
            taken.update(own)
    return blocks
