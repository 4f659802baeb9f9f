"""Encoders as functions of named tensors, as formats hold them that know no Python: traced, with sizes that vary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from inspect import getdoc

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from sensorium.contracts import Encoder, Modality
from sensorium.errors import SensoriumError
from sensorium.exporters.base import largest_difference, one_modality
from sensorium.models.model import Model
from sensorium.registration.options import args_of
from sensorium.seeding import generator
from sensorium.types import Batch

OUTPUTS = ("features", "embeddings")
"""Pooled features (B, D), and of runs with a joint space their image in it (B, E)."""
COUNTS = (1, 2, 7)
"""Batch sizes that another library is asked for."""


class _OnTensors(nn.Module):
    """An encoder that takes the tensors of a batch one by one, and returns pooled features, and embeddings if any."""

    def __init__(self, encoder: Encoder, kind: type[Batch], names: Sequence[str], map_DE: Tensor | None) -> None:
        super().__init__()
        self.encoder, self.kind, self.names = encoder, kind, tuple(names)
        self.register_buffer("map_DE", map_DE)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Encode a batch."""
        pooled_BD = self.encoder(self.kind(**dict(zip(self.names, tensors, strict=True)))).pooled
        return (pooled_BD,) if self.map_DE is None else (pooled_BD, pooled_BD @ self.map_DE)


@dataclass(frozen=True)
class Traceable:
    """One encoder of a model that can be traced.

    Args:
        name: of the modality.
        modality: fitted.
        encoder: in evaluation mode, on the CPU.
        map_DE: the linear map to the joint space, where the run has one.
    """

    name: str
    modality: Modality
    encoder: Encoder
    map_DE: Tensor | None

    @classmethod
    def of(cls, model: Model, name: str | None, format: str) -> Traceable:
        """Return the encoder of a modality.

        Args:
            model: on the CPU.
            name: the modality; None for the only one.
            format: that it is for, as errors name it.

        Raises:
            SensoriumError: when its batches are no plain tensors, or its joint space is behind more than a linear map.
        """
        name = one_modality(model, name)
        modality, encoder = model.plan.modalities[name], model.learner.encoder(name)
        if not _has_plain_batches(modality):
            raise SensoriumError(
                f"The format '{format}' takes no batches of '{name}': those of {type(modality).__name__} are more than "
                "tensors of which the first axis counts records; the formats 'encoders' and 'huggingface' take any "
                "encoder."
            )
        objective, map_DE = model.learner.objective, None
        if objective.has_own_space(name):
            map_DE = objective.joint_map(name, encoder)
            if map_DE is None:
                raise SensoriumError(
                    f"The map of '{name}' to the joint space is not linear, and the format '{format}' has no place for "
                    "it: the format 'encoders' writes the encoder alone."
                )
        return cls(name, modality, encoder.eval(), map_DE)

    def batch(self, count: int, is_long: bool) -> Batch:
        """Return a random batch; the same for the same arguments."""
        return self.modality.random_batch(count, is_long, generator("export", self.name, count, is_long))

    @cached_property
    def example(self) -> dict[str, Tensor]:
        """The tensors of the batch that is traced, by name."""
        return self.batch(3, False).tensors()

    @cached_property
    def module(self) -> _OnTensors:
        """The encoder as a function of these tensors."""
        return _OnTensors(self.encoder, type(self.batch(3, False)), list(self.example), self.map_DE)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what it returns."""
        return OUTPUTS[: 1 if self.map_DE is None else 2]

    @cached_property
    def varying(self) -> dict[str, dict[int, str]]:
        """The axes of each tensor whose size varies: number of the axis -> "batch" or "length"."""
        more, longer = self.batch(4, False).tensors(), self.batch(3, True).tensors()
        found: dict[str, dict[int, str]] = {}
        for name, tensor in self.example.items():
            of = {i: "batch" for i, size in enumerate(tensor.shape) if more[name].shape[i] != size}
            found[name] = of | {i: "length" for i, size in enumerate(tensor.shape) if longer[name].shape[i] != size}
        return found

    @property
    def has_length(self) -> bool:
        """Whether examples have a length."""
        return any("length" in axes.values() for axes in self.varying.values())

    def trace(self, format: str) -> ExportedProgram:
        """Return the graph of the encoder, for batches of any size and length.

        Raises:
            SensoriumError: when it does something on values that a graph does not hold.
        """
        sizes = tuple(dict.fromkeys(axes, Dim.DYNAMIC) for axes in self.varying.values())
        try:
            with _plain_attention():
                return torch.export.export(
                    self.module, tuple(self.example.values()), dynamic_shapes=(sizes,), strict=True
                )
        except Exception as error:  # of any layer, in any code of torch
            raise SensoriumError(
                f"The encoder {type(self.encoder).__name__} of '{self.name}' cannot be written in the format "
                f"'{format}': {first_line(error)}; the format 'encoders' takes any encoder."
            ) from error

    @torch.no_grad()
    def compare(self, run: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]) -> dict[str, float]:
        """Return the largest differences of what another library computes, at several batch sizes and two lengths.

        Args:
            run: tensors by name -> outputs by name.

        Raises:
            SensoriumError: when one is too large.
        """
        found: dict[str, float] = {}
        for is_long in (False, True)[: 1 + self.has_length]:
            for count in COUNTS:
                tensors = self.batch(count, is_long).tensors()
                at = f"at batch {count}" + (f", length {self._length(tensors)}" if self.has_length else "")
                try:
                    theirs = run(tensors)
                except Exception as error:  # of another library
                    raise SensoriumError(
                        f"What was exported of '{self.name}' fails {at} ({first_line(error)}); nothing was kept of it."
                    ) from error
                for name, ours in zip(self.outputs, self.module(*tensors.values()), strict=True):
                    what = f"{name} {at}"
                    found[what] = largest_difference(ours, theirs[name], what)
        return found

    @torch.no_grad()
    def shortest(self, run: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]) -> int | None:
        """Return the smallest length at which another library computes what the model does, by bisection.

        None where examples have no length, or tensors that differ in it, such as samples and their frames.
        """
        whole = self.batch(2, False).tensors()
        lengths = {
            whole[name].shape[i] for name, axes in self.varying.items() for i, w in axes.items() if w == "length"
        }
        if len(lengths) != 1:
            return None
        fails, works = 0, lengths.pop()
        while works - fails > 1:
            length = (fails + works) // 2
            if self._works(run, {name: self._cut(name, tensor, length) for name, tensor in whole.items()}):
                works = length
            else:
                fails = length
        return works

    def _cut(self, name: str, tensor: Tensor, length: int) -> Tensor:
        for axis, word in self.varying[name].items():
            tensor = tensor.narrow(axis, 0, length) if word == "length" else tensor
        return tensor.contiguous()

    def _works(self, run: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]], tensors: dict[str, Tensor]) -> bool:
        """Return whether another library computes what the model does of a batch, which both may refuse."""
        try:
            theirs = run(tensors)
            for name, ours in zip(self.outputs, self.module(*tensors.values()), strict=True):
                largest_difference(ours, theirs[name], name)
        except Exception:  # of a layer that needs more steps, in any code of a library
            return False
        return True

    def _length(self, tensors: dict[str, Tensor]) -> int:
        name, axis = next((n, i) for n, axes in self.varying.items() for i, word in axes.items() if word == "length")
        return tensors[name].shape[axis]

    def takes(self, run: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]) -> list[str]:
        """Return sentences on what the graph takes and gives.

        Args:
            run: as in `compare`.
        """
        inputs = []
        for name, tensor in self.example.items():
            sizes = [self.varying[name].get(i, str(size)) for i, size in enumerate(tensor.shape)]
            inputs.append(f"`{name}` {str(tensor.dtype).removeprefix('torch.')} ({', '.join(sizes)})")
        gives = f"`features` (batch, {self.encoder.dim}), pooled"
        if self.map_DE is not None:
            gives += f"; `embeddings` (batch, {self.map_DE.shape[1]}), in the joint space, not normalized"
        sentences = [f"It takes {', '.join(inputs)}, and gives {gives}."]
        if (shortest := self.shortest(run)) is not None:
            sentences.append(f"The shortest length that it takes is {shortest}.")
        if about := _documented(type(self.batch(3, False)), list(self.example)):
            sentences.append(f"Its inputs are those of a `{type(self.batch(3, False)).__name__}`: {about}")
        sentences.append(
            "Normalization, and whatever else the encoder does with a batch, is in the graph; values become a batch by "
            "`modality.collate([modality.decode(value) for value in values])`, or by code of your own that does as the "
            "recipe's modality says."
        )
        return sentences


def _documented(kind: type, names: Sequence[str]) -> str:
    """Return what the docstring of a class says of some of its fields, in one line."""
    said = args_of(getdoc(kind) or "")
    return " ".join(f"`{name}`: {said[name]}" for name in names if name in said)


def _has_plain_batches(modality: Modality) -> bool:
    """Return whether a batch is known, and is tensors alone, with its examples along the first axis."""
    if not modality.has_random_batch():
        return False
    batch = modality.random_batch(3, False, generator("export"))
    values = [getattr(batch, field.name) for field in fields(batch)]
    return all(x is None or (isinstance(x, Tensor) and len(x) == len(batch)) for x in values)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Keep torch from fused kernels of whole layers, which graphs have no operator for."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def first_line(error: BaseException) -> str:
    """Return the first line of what a library says, as a clause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any("Constraints violated" in line for line in lines):
        return "what it computes depends on the number of records, or of steps, in a batch"
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:200]
