"""What a plugin writes to save what a run learned in another format."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from sensorium.errors import SensoriumError, not_found
from sensorium.models.model import Model

TOLERANCE = 1e-4
"""Largest difference of fp32 features that are called equal, as a fraction of the largest feature, or of 1."""


@dataclass(frozen=True)
class Verification:
    """What another library computes with exported files, beside the model that they were written from.

    Args:
        library: the distribution of the library, such as "onnxruntime".
        differences: what was compared -> the largest absolute difference.
        takes: sentences on what the files take, and which preprocessing is in them.
    """

    library: str
    differences: Mapping[str, float]
    takes: Sequence[str] = ()

    @property
    def largest(self) -> float:
        """The largest absolute difference of all."""
        return max(self.differences.values())

    def __str__(self) -> str:
        made_by = f"{self.library} {_version_of(self.library)}".rstrip()
        return f"Verified by {made_by}: the largest difference from the model is {self.largest:.1e}."

    def sentences(self) -> list[str]:
        """Return what the model card says of it."""
        each = ", ".join(f"{what} {difference:.1e}" for what, difference in self.differences.items())
        return [*self.takes, f"{self} Each: {each}."]


class Exporter(ABC):
    """Writes what a run learned as files that others read.

    Its keyword arguments are options of `sensorium export RUN OUT --format NAME key=value`.
    """

    library: ClassVar[str] = "sensorium"
    """The library that loads what it writes, as model cards of the Hugging Face hub name it."""

    @abstractmethod
    def export(self, model: Model, folder: Path) -> str:
        """Write into an empty folder; returns the lines of Python that load what was written.

        What it cannot write it refuses before it computes anything, in one sentence.

        Args:
            model: its `learner` has encoders, by modality, and the objective; its `plan` the recipe and modalities.
            folder: where.

        Raises:
            SensoriumError: when the model cannot be written so.
        """

    def verify(self, model: Model, folder: Path) -> Verification | None:
        """Load what `export` wrote with the library that it is for, and compare: see `largest_difference`.

        Called at once after `export`, on a CPU. None, the default: there is no other library to ask.

        Args:
            model: as `export` had it.
            folder: as `export` left it.

        Raises:
            SensoriumError: when that library computes something else; what was written is then deleted.
        """
        return None


def one_modality(model: Model, name: str | None) -> str:
    """Return the modality that an option names, or the only one.

    Raises:
        SensoriumError: when the model does not have it, or has several and none is named.
    """
    there = list(model.modalities)
    if name is None and len(there) > 1:
        raise SensoriumError(
            f"The format writes one encoder: name its modality, modality={' or modality='.join(there)}."
        )
    if name is not None and name not in there:
        problem = f"The option 'modality' names '{name}', which the run has not"
        raise SensoriumError(not_found(problem, name, there, f"there are: {', '.join(there)}"))
    return name or there[0]


def largest_difference(ours: Tensor, theirs: Tensor, what: str, tolerance: float = TOLERANCE) -> float:
    """Return the largest absolute difference of two tensors of one shape that should be equal.

    Args:
        ours: float, of the model.
        theirs: float, of another library.
        what: what they are, for the error.
        tolerance: as a fraction of the largest of ours, or of .05 where that is less.

    Raises:
        SensoriumError: when they differ by more, or in shape, or are not finite.
    """
    if ours.shape != theirs.shape:
        raise SensoriumError(
            f"What was exported is another model: its features of {what} are {tuple(theirs.shape)}, those of the run "
            f"{tuple(ours.shape)}; nothing was kept of the export."
        )
    ours, theirs = ours.detach().double(), theirs.detach().double()
    if not ours.numel():
        return 0.0
    difference = float((ours - theirs).abs().max())
    if not difference <= tolerance * max(0.05, float(ours.abs().max())):
        raise SensoriumError(
            f"What was exported computes something else than the run: the largest difference of {what} is "
            f"{difference:.2g}, more than {tolerance:g} of the largest feature; nothing was kept of the export."
        )
    return difference


def _version_of(library: str) -> str:
    """Return the version of a library, whose distribution may have another name; "" where it says none."""
    try:
        return version(library)
    except PackageNotFoundError:
        return str(getattr(sys.modules.get(library), "__version__", ""))
