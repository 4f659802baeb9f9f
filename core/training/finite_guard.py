"""Steps whose loss or gradient is not finite: undone, counted, kept for replay, and at last too many."""

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

from sensorium.errors import TrainingError
from sensorium.models.learner import Learner
from sensorium.parallel import collectives
from sensorium.runs.atomic import write_atomically
from sensorium.runs.checkpoint import Checkpoints

log = logging.getLogger("sensorium")
LOWEST_SCALE = 1.0
"""A gradient that overflows although the loss scale of fp16 is below this is no fault of the scale."""


class Guard:
    """Lets a step through only when its loss and gradient are finite on every rank, and undoes any other.

    A step that is undone leaves no trace in the learner: weights, moments and teachers were not yet moved, and buffers
    (queues, centers, running statistics), which a forward pass may move, are put back. It is named in `steps.jsonl`
    with the ids of its records, and a checkpoint of what came before it is kept, so that it can be replayed. Where
    fp16 merely lowers its loss scale, the step is undone and not counted.

    Args:
        fabric: launched.
        learner: whose steps these are.
        optimizer: of the learner.
        folder: where `steps.jsonl` and the checkpoint are written.
        most: how many steps may be undone (`monitor.skips`).
        step: the step that the training starts from; what was noted of later ones is dropped.
    """

    def __init__(
        self, fabric: Fabric, learner: Learner, optimizer: torch.optim.Optimizer, folder: Path, most: int, step: int
    ) -> None:
        self.fabric, self.learner, self.optimizer, self.most = fabric, learner, optimizer, most
        self.file, self.checkpoints = folder / "steps.jsonl", Checkpoints(folder, keep=1)
        self.noted = [note for note in read_notes(self.file) if note["step"] < step]
        self._buffers: list[Tensor] = []

    def remember(self) -> None:
        """Keep the buffers as they are before a step."""
        self._buffers = [buffer.clone() for buffer in self.learner.buffers()]

    def admits(self, loss: Tensor, norm: Tensor) -> bool:
        """Return whether this rank's loss and the gradient's norm are finite, and those of every other rank."""
        return not collectives.any_rank(not (_finite(loss) and _finite(norm)), self.fabric.device)

    def undo(self, step: int, loss: Tensor, norm: Tensor, ids: Sequence[str]) -> None:
        """Undo a step that was not admitted; collective under distribution.

        Raises:
            TrainingError: when it is one too many.
        """
        self.optimizer.zero_grad(set_to_none=True)
        for buffer, before in zip(self.learner.buffers(), self._buffers, strict=True):
            buffer.copy_(before)
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        lost = collectives.any_rank(not _finite(loss), self.fabric.device)
        overflowed = scaler is not None and not lost and scaler.get_scale() >= LOWEST_SCALE
        if scaler is not None:
            scaler.update()
        if not overflowed:
            self._count(step, loss, norm, ids)

    def _count(self, step: int, loss: Tensor, norm: Tensor, ids: Sequence[str]) -> None:
        note: dict[str, Any] = {
            "step": step,
            "loss": str(float(collectives.all_reduce_mean(loss))),
            "gradient": str(float(_whole(norm))),
            "ids": collectives.all_gather_objects(list(ids)),
        }
        self.noted.append(note)
        self.checkpoints.save(step, self.learner, self.optimizer, {})
        if collectives.rank() == 0:
            text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in self.noted)
            write_atomically(self.file, lambda path: path.write_text(text, encoding="utf-8"))
            log.warning(
                "step %d is skipped: its loss is %s, the norm of its gradient %s", step, note["loss"], note["gradient"]
            )
        if len(self.noted) > self.most:
            raise TrainingError(
                f"{len(self.noted)} steps had no finite loss and gradient, more than monitor.skips = {self.most} "
                f"allows: lower optimizer.lr, lengthen optimizer.warmup or set train.precision to 32-true; "
                f"`sensorium replay {self.file.parents[1]}` shows where in step {step} they arose."
            )


def read_notes(file: Path) -> list[dict[str, Any]]:
    """Return what was noted of the steps that were undone: `step`, `loss`, `gradient`, and `ids` of each rank."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in lines if line]


def _whole(norm: Tensor) -> Tensor:
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def _finite(value: Tensor) -> bool:
    return bool(_whole(value).isfinite())
