"""A checkpoint that is a folder, of which every rank writes and reads its part: torch's distributed checkpoint.

Tensors are in safetensors files, whatever the number of ranks that wrote them; all else is in `checkpoint.json`, which
is written last, with the size and checksum of every file. Nothing of it runs code when it is read.
"""

from __future__ import annotations

import json
import os
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.checkpoint import (
    DefaultLoadPlanner,
    DefaultSavePlanner,
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
    load,
)
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystem
from torch.distributed.checkpoint.metadata import MetadataIndex, TensorStorageMetadata
from torch.distributed.checkpoint.planner import SavePlan, WriteItem
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from sensorium.errors import RunError
from sensorium.parallel import collectives
from sensorium.parallel.host_group import host_group
from sensorium.parallel.rank_zero import on_rank_zero
from sensorium.runs.atomic import write_json
from sensorium.runs.checkpoint_contents import Checkpoint, drop_state_of_frozen, mismatch
from sensorium.runs.nested_state import put_together, take_apart, tensor_names

MANIFEST = "checkpoint.json"
LEARNER, MOMENTS = "learner/", "optimizer/state/"
"""How names of the learner's tensors, and of the optimizer's, begin."""
FILE = 2**30
"""Most bytes of one file, where tensors are smaller: a rank holds one of its files in memory while it writes it."""
BLOCK = 2**24


class WrittenFile(NamedTuple):
    """A file of a checkpoint: its name, size in bytes and CRC-32."""

    name: str
    bytes: int
    checksum: int


def shards_writer(
    folder: Path, learner: nn.Module, optimizer: torch.optim.Optimizer, extra: Mapping[str, Any]
) -> tuple[Callable[[], list[WrittenFile]], Any]:
    """Return what writes this rank's files, without another collective operation; calling this function is one.

    A rank copies what it will write to the CPU: of what is sharded its own part, of what is replicated a part.

    Args:
        folder: a new one.
        learner: what is trained.
        optimizer: its optimizer.
        extra: what a training keeps beside them, the same on every rank.

    Returns:
        What writes, and then returns the files; and all that is no tensor, for `finish_shards`.
    """
    weights, moments = get_state_dict(learner, optimizer)
    rest, tensors = take_apart({"learner": weights, "optimizer": moments, "extra": dict(extra)})
    if collectives.rank() != 0:  # what is no weight may differ between ranks: running statistics that are not joined
        named = {f"{LEARNER}{name}" for name, _ in learner.named_parameters(remove_duplicate=False)}
        tensors = {name: x for name, x in tensors.items() if name in named or name.startswith(MOMENTS)}
    writer = HuggingFaceStorageWriter(str(folder), _file_of_each(tensors), save_distributed=True)
    on_rank_zero(folder.mkdir, parents=True)
    planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    plan = _plan(writer, planner, tensors)
    copies = {item.index: _copy(planner.resolve_data(item)) for item in plan.items}
    return partial(_write, folder, writer, plan, _Copies(copies)), rest


def finish_shards(folder: Path, step: int, rest: Any, files: Sequence[WrittenFile]) -> None:
    """Write `checkpoint.json`, when all files of all ranks are there: the folder is a checkpoint then."""
    described = {file.name: {"bytes": file.bytes, "crc32": file.checksum} for file in files}
    manifest = {"format": 1, "step": step, "files": described, "state": rest}
    write_json(folder / MANIFEST, {"crc32": _checksum_of(manifest), **manifest})
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Copies(DefaultSavePlanner):
    """Gives the writer the copies that were made of what it writes."""

    def __init__(self, copies: Mapping[MetadataIndex, Tensor]) -> None:
        super().__init__()
        self._copies = dict(copies)

    def resolve_data(self, write_item: WriteItem) -> Tensor:
        return self._copies.pop(write_item.index)


def _plan(writer: HuggingFaceStorageWriter, planner: DefaultSavePlanner, tensors: dict[str, Tensor]) -> SavePlan:
    """Return which parts of which tensors this rank writes: every part of every tensor is written once; collective."""
    rank = collectives.rank()
    planner.set_up_planner(tensors, writer.storage_meta(), is_coordinator=rank == 0)
    writer.set_up_storage_writer(rank == 0)
    plans = collectives.gather_objects(writer.prepare_local_plan(planner.create_local_plan()))

    def divided() -> list[SavePlan]:
        assert plans is not None, "rank 0 has the plans of all"
        return writer.prepare_global_plan(planner.create_global_plan(plans)[0])

    return planner.finish_plan(on_rank_zero(divided)[rank])


def _file_of_each(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Return name -> number of the file, from 1; files of the learner, the optimizer and the rest are apart."""
    numbers: dict[str, int] = {}
    number, size, section = 0, 0, ""
    most = FILE * collectives.world_size()
    for name in sorted(tensors):
        own, this = tensors[name].numel() * tensors[name].element_size(), name.partition("/")[0]
        if this != section or size + own > most:
            number, size, section = number + 1, 0, this
        numbers[name], size = number, size + own
    return numbers


def _copy(tensor: Any) -> Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _write(folder: Path, writer: HuggingFaceStorageWriter, plan: SavePlan, copies: _Copies) -> list[WrittenFile]:
    """Write the files of this rank."""
    writer.write_data(plan, copies).wait()
    own = sorted(folder.glob(f"shard-{collectives.rank() + 1:05d}-*"))
    return [WrittenFile(path.name, path.stat().st_size, _checksum(path)) for path in own]


def _checksum_of(manifest: Mapping[str, Any]) -> int:
    """Return the CRC-32 of the manifest of a checkpoint."""
    return zlib.crc32(json.dumps(manifest).encode())


def _checksum(path: Path) -> int:
    """Return the CRC-32 of a file."""
    found = 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            found = zlib.crc32(block, found)
    return found


class _ListedFiles(FileSystem):
    """A folder of which only the files that a checkpoint names are there."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)

    def ls(self, path: str | os.PathLike) -> list[str]:
        return [str(Path(path) / name) for name in self._names]


class ShardedCheckpoint(Checkpoint):
    """A checkpoint that is a folder; every rank reads what it needs of it, whoever wrote it.

    Raises:
        RunError: when the folder is no whole checkpoint.
    """

    def __init__(self, path: Path) -> None:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if manifest.pop("crc32") != _checksum_of(manifest):
            raise RunError(f"the checksum of its file {MANIFEST} is another")
        super().__init__(path, manifest["step"])
        self._files: dict[str, dict[str, int]] = manifest["files"]
        self._rest = manifest["state"]
        for name, file in self._files.items():
            if not (path / name).is_file():
                raise RunError(f"its file {name} is missing")
            if (size := (path / name).stat().st_size) != file["bytes"]:
                raise RunError(f"its file {name} has {size:,} bytes instead of {file['bytes']:,}")

    def extra(self, name: str, default: Any = None) -> Any:
        """Read a part beside learner and optimizer."""
        if name not in self._rest["extra"]:
            return default
        found = self._whole(tensor_names(self._rest["extra"][name]))
        return put_together(self._rest["extra"][name], found.__getitem__)

    def learner(self) -> dict[str, Tensor]:
        """Read the learner's weights."""
        found = self._whole(tensor_names(self._rest["learner"]))
        return {name.removeprefix(LEARNER): tensor for name, tensor in found.items()}

    def damage(self, rank: int = 0, ranks: int = 1) -> str | None:
        """Compare checksums."""
        for name in sorted(self._files)[rank::ranks]:
            try:
                if _checksum(self.path / name) != self._files[name]["crc32"]:
                    return f"the checksum of its file {name} is another"
            except OSError as error:
                return f"its file {name}: {error}"
        return None

    def restore(self, learner: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Load learner and optimizer; collective."""
        used: tuple[Any, Any] = get_state_dict(learner, optimizer)
        weights, fresh = used
        names = tensor_names(self._rest["learner"])
        found = {name.removeprefix(LEARNER): torch.empty(self._stored[name].size, device="meta") for name in names}
        if {n: x.shape for n, x in weights.items()} != {n: x.shape for n, x in found.items()}:
            raise RunError(f"The checkpoint of step {self.step} does not fit this recipe: {mismatch(weights, found)}.")
        places = {f"{LEARNER}{name}": tensor for name, tensor in weights.items()}
        read = self._read({name: self._place(name, places) for name in names})
        set_model_state_dict(learner, {name.removeprefix(LEARNER): tensor for name, tensor in read.items()})
        moments = self._rest["optimizer"]
        if moments["state"]:  # torch refuses that of an optimizer without any, such as SGD without momentum
            _, places = take_apart({"optimizer": fresh})
            read = self._read({name: self._place(name, places) for name in tensor_names(moments)})
            state = put_together(moments, read.__getitem__)
            set_optimizer_state_dict(learner, optimizer, state, options=StateDictOptions(strict=False))
        drop_state_of_frozen(moments["state"].keys(), found.keys(), learner, optimizer)

    @cached_property
    def _stored(self) -> dict[str, TensorStorageMetadata]:
        """Name -> size and kind of a tensor."""
        return self._reader().read_metadata().state_dict_metadata  # type: ignore[return-value]

    def _reader(self) -> HuggingFaceStorageReader:
        reader = HuggingFaceStorageReader(str(self.path))
        reader.fs = _ListedFiles(self._files)
        return reader

    def _place(self, name: str, places: Mapping[str, Tensor]) -> Tensor:
        """Return where a tensor is read to: as one in use lies on ranks and devices; where there is none, the CPU."""
        stored, used = self._stored[name], places.get(name)
        if used is not None and used.shape == stored.size:
            return torch.empty_like(used, dtype=stored.properties.dtype)
        return torch.empty(stored.size, dtype=stored.properties.dtype)

    def _whole(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Return tensors whole, on the CPU; each process by itself."""
        return self._read({name: self._place(name, {}) for name in names}, alone=True) if names else {}

    def _read(self, places: dict[str, Tensor], alone: bool = False) -> dict[str, Tensor]:
        """Read tensors into their places, each rank its parts; collective unless alone."""
        planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        alone = alone or collectives.world_size() == 1
        group = None if alone else host_group()
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="torch.distributed is disabled")
                load(places, storage_reader=self._reader(), planner=planner, process_group=group, no_dist=alone)
        except (CheckpointException, SafetensorError, OSError) as error:
            raise RunError(f"{self.path} cannot be read: {' '.join(str(error).split())}.") from error
        return places
