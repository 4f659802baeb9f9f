"""The guard against non-finite losses and gradients: skips such steps, counts them and keeps the last for replay."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.distributed.tensor import DTensor

from sensorium.errors import PluginError, TrainingError
from sensorium.models.learner import Learner
from sensorium.parallel import collectives
from sensorium.runs.atomic import write_atomically
from sensorium.runs.checkpoint import Checkpoints

log = logging.getLogger("sensorium")
SMALL = 2**20
"""Buffers of at most so many bytes are copied before each step; those of statistics, centers and schedules are."""
LOWEST_SCALE = 1.0
"""Below this loss scale of fp16, an overflowing gradient is not caused by the scale."""


class Guard:
    """Skips every step whose loss or gradient is non-finite on any rank.

    A skipped step leaves the learner unchanged: weights, moments and teachers are not updated, and buffers (centers,
    running statistics), which the forward pass may change, are restored. Of a buffer above `SMALL` (a queue, a table),
    which is not copied, the forward pass may make another one; it is changed in place in `after_step` alone. A skipped
    step is written to `steps.jsonl` with the ids of its records, beside a checkpoint of the state before it, for
    replay. A step that only lowers the loss scale of fp16 is skipped and not counted.

    Args:
        fabric: launched.
        learner: what is trained.
        optimizer: its optimizer.
        folder: where `steps.jsonl` and the checkpoint are written.
        most: maximum number of skipped steps (`monitor.skips`).
        step: the step that the training starts from; notes of later steps are dropped.
        sharded: as in `Checkpoints`.
    """

    def __init__(
        self,
        fabric: Fabric,
        learner: Learner,
        optimizer: torch.optim.Optimizer,
        folder: Path,
        most: int,
        step: int,
        sharded: bool = False,
    ) -> None:
        self.fabric, self.learner, self.optimizer, self.most = fabric, learner, optimizer, most
        self.file, self.checkpoints = folder / "steps.jsonl", Checkpoints(folder, keep=1, sharded=sharded)
        self.noted = [note for note in read_notes(self.file) if note["step"] < step]
        self._places = [(m, name) for m in learner.modules() for name, x in m._buffers.items() if x is not None]
        self._before: list[tuple[Tensor, int]] = []
        self._copies = [torch.empty_like(x) if x.nbytes <= SMALL else None for x in self._buffers()]
        self._lost = False

    def save_buffers(self) -> None:
        """Note the buffers before a step, and copy those that are small."""
        buffers = self._buffers()
        self._before = [(buffer, buffer._version) for buffer in buffers]
        small = [(copy, x.detach()) for copy, x in zip(self._copies, buffers, strict=True) if copy is not None]
        if small:
            torch._foreach_copy_([copy for copy, _ in small], [x for _, x in small])

    def is_finite(self, loss: Tensor, norm: Tensor) -> bool:
        """Return whether loss and gradient norm are finite on every rank; a collective operation, and one host read."""
        whole = _whole(norm)  # a collective operation under FSDP: on every rank, whatever its loss
        bad_2 = torch.stack([~loss.isfinite(), ~whole.isfinite()]).float()
        lost, exploded = collectives.all_reduce_sum(bad_2).tolist()
        self._lost = lost > 0
        return not (lost or exploded)

    def _buffers(self) -> list[Tensor]:
        return [module._buffers[name] for module, name in self._places]  # type: ignore[misc]

    def _restore_buffers(self) -> None:
        for (module, name), (before, version), copy in zip(self._places, self._before, self._copies, strict=True):
            module._buffers[name] = before
            if copy is not None:
                before.copy_(copy)
            elif before._version != version:
                raise PluginError(
                    f"A step is skipped, but {type(module).__name__} changed its large buffer '{name}' in place in its "
                    "forward pass, which cannot be undone: change it in after_step."
                )

    def skip(self, step: int, loss: Tensor, norm: Tensor, ids: Sequence[str]) -> None:
        """Skip a non-finite step; a collective operation.

        Raises:
            TrainingError: when more than `most` steps were skipped.
        """
        self.optimizer.zero_grad(set_to_none=True)
        self._restore_buffers()
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        overflowed = scaler is not None and not self._lost and scaler.get_scale() >= LOWEST_SCALE
        if scaler is not None:
            scaler.update()
        if not overflowed:
            self._count(step, loss, norm, ids)

    def _count(self, step: int, loss: Tensor, norm: Tensor, ids: Sequence[str]) -> None:
        note: dict[str, Any] = {
            "step": step,
            "loss": str(float(collectives.all_reduce_mean(loss.detach()))),
            "gradient": str(float(_whole(norm))),
            "ids": collectives.all_gather_objects(list(ids)),
        }
        self.noted.append(note)
        self.checkpoints.save(step, self.learner, self.optimizer, {})
        if collectives.rank() == 0:
            text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in self.noted)
            write_atomically(self.file, lambda path: path.write_text(text, encoding="utf-8"))
            log.warning(
                "skipped step %d: non-finite loss (%s) or gradient norm (%s)", step, note["loss"], note["gradient"]
            )
        if len(self.noted) > self.most:
            raise TrainingError(
                f"{len(self.noted)} steps had a non-finite loss or gradient, more than monitor.skips = {self.most} "
                f"allows: lower optimizer.lr, lengthen optimizer.warmup{self._or_full_precision()}; "
                f"`sensorium replay {self.file.parents[1]}` shows where step {step} is non-finite first."
            )

    def _or_full_precision(self) -> str:
        """Return the advice to compute in fp32, to a training that does not."""
        is_full = self.fabric.strategy.precision.precision == "32-true"
        return "" if is_full else " or set train.precision to 32-true"


def read_notes(file: Path) -> list[dict[str, Any]]:
    """Return the notes of skipped steps: `step`, `loss`, `gradient`, and the `ids` of each rank."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in lines if line]


def _whole(norm: Tensor) -> Tensor:
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
