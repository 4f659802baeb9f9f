"""EMA teachers: moving averages of encoders and heads, whose features are a student's targets."""

from __future__ import annotations

import copy
import math
from typing import Self

import torch
from torch import nn

from sensorium.blocks.lora import merged_copy, merged_parameters
from sensorium.contracts import Encoders


class Teacher(nn.Module):
    """EMA teacher (momentum encoder): an exponential moving average of encoders and heads, never trained.

    `encode.using(teacher.encoders)` runs the copies of the encoders, `teacher.heads[name]` is the copy of a head.
    Call its modules under `torch.no_grad()`, and `update` in `after_step`. Low-rank adapters of a student are merged in
    its teacher, which averages adapted weights: an average of the factors would be another matrix.

    Targets have no noise: dropout, stochastic depth and random masks of the copies are always off. Batch norms alone
    follow the training mode, in which they normalize by the batch and update running statistics of their own.

    Args:
        encoders: what `Objective.build` received.
        heads: head name -> the student's head.
    """

    def __init__(self, encoders: Encoders, **heads: nn.Module) -> None:
        super().__init__()
        copies = {encoder: merged_copy(encoder) for encoder in encoders.values()}  # one of each that is shared
        self.encoders = nn.ModuleDict({name: copies[encoder] for name, encoder in encoders.items()})
        self.heads = nn.ModuleDict({name: copy.deepcopy(head) for name, head in heads.items()})
        self.requires_grad_(False).train()
        # A list hides the students from nn.Module, which would register them a second time.
        self._students = [(copied, encoder) for encoder, copied in copies.items()] + [
            (self.heads[n], h) for n, h in heads.items()
        ]

    def train(self, mode: bool = True) -> Self:
        """Set batch norms to training mode (or not), and everything else to evaluation mode.

        So are the teachers of DINO and iBOT, built without the student's stochastic depth (Caron et al. 2021; Zhou et
        al. 2022), and of data2vec (Baevski et al. 2022), whose batch norms are none; those of BYOL and MoCo normalize
        by the batch (Grill et al. 2020; He et al. 2020, section 3.3).
        """
        super().train(False)
        for module in self.modules():
            if hasattr(module, "running_mean"):
                module.train(mode)
        self.training = mode
        return self

    @torch.no_grad()
    def restart(self) -> None:
        """Become a copy of the student as it is now, running statistics included."""
        self.update(0.0)
        for teacher, student in self._students:
            theirs = dict(student.named_buffers())
            for name, buffer in teacher.named_buffers():
                buffer.copy_(theirs[name])

    @torch.no_grad()
    def update(self, momentum: float) -> None:
        """Move every weight to `momentum` times itself plus `1 - momentum` times the student's.

        Buffers (running statistics) are not averaged: the teacher updates its own.
        """
        pairs = [
            (mine, theirs)
            for teacher, student in self._students
            for mine, theirs in zip(teacher.parameters(), merged_parameters(student), strict=True)
        ]
        torch._foreach_lerp_([mine for mine, _ in pairs], [theirs.detach() for _, theirs in pairs], 1 - momentum)


def cosine_schedule(start: float, end: float, progress: float) -> float:
    """Return the value at `progress` (0 to 1) of a half cosine from `start` to `end`.

    Args:
        start: value at progress 0.
        end: value at progress 1.
        progress: fraction of the training, 0 to 1.
    """
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))
