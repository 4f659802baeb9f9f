"""Gram anchoring of DINOv3: what holds the similarities of tokens while pooled features go on learning."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Encoders, Teacher, View, check_range, losses
from sensorium.errors import RecipeError


@dataclass(frozen=True)
class GramOptions:
    """Gram anchoring (DINOv3, Siméoni et al. 2025, section 4): its weight, and when a Gram teacher is taken.

    A Gram teacher is a frozen copy of the EMA teacher. Before `start` there is none, and nothing is computed.

    Args:
        weight: of the loss of Gram anchoring, a mean over pairs of tokens, >= 0; the paper's is 2.
        start: fraction of the training at which the first Gram teacher is taken, in [0, 1): where dense metrics peak.
        warmup: fraction of the training, from `start` on, in which the weight rises from 0, in [0, 1].
        refresh: fraction of the training after which the EMA teacher becomes the Gram teacher anew, again and again,
            in [0, 1]; 0 is never.
        refreshes: how often at most, >= 1; the paper's is 3.
        local_weight: weight of the terms of local views in the loss of views from `start` on, >= 0; the paper's is 0.5.
    """

    weight: float = 2.0
    start: float = 0.5
    warmup: float = 0.0
    refresh: float = 0.0
    refreshes: int = 3
    local_weight: float = 0.5

    def __post_init__(self) -> None:
        check_range("Gram anchoring", "[0, inf)", weight=self.weight, local_weight=self.local_weight)
        check_range("Gram anchoring", "[0, 1)", start=self.start)
        check_range("Gram anchoring", "[0, 1]", warmup=self.warmup, refresh=self.refresh)
        check_range("Gram anchoring", "[1, inf)", refreshes=self.refreshes)
        if self.refreshes != type(self).refreshes and not self.refresh:
            raise RecipeError("The option 'refreshes' of gram has no effect without refresh: leave it out.")

    def teachers(self, progress: float) -> int:
        """Return how many Gram teachers were taken up to a fraction of the training; 0 before the start."""
        if progress < self.start:
            return 0
        refreshed = int((progress - self.start) / self.refresh + 1e-9) if self.refresh else 0
        return 1 + min(refreshed, self.refreshes)


class GramAnchoring(nn.Module):
    """The Gram teacher, and its loss on a student's tokens.

    The teacher is frozen whole: its batch norms, too, keep the running statistics that the EMA teacher had. It sees a
    view's clean copy (`View.info["clean"]`), at any resolution, where there is one, and the view otherwise.

    Args:
        encoders: what `Objective.build` received.
        options: when the Gram teacher is taken, and weights.
    """

    taken: Tensor

    def __init__(self, encoders: Encoders, options: GramOptions) -> None:
        super().__init__()
        self.options, self.grid = options, encoders.single.grid
        self.teacher = Teacher(encoders)
        self.register_buffer("taken", torch.tensor(options.teachers(0.0)))
        self._taken_on_host: int | None = options.teachers(0.0)
        self.register_load_state_dict_post_hook(_forget_taken)
        self.eval()

    def train(self, mode=True):
        """Stay in evaluation mode."""
        return super().train(False)

    @property
    def teachers(self) -> int:
        """How many Gram teachers were taken: the device is asked once, after a checkpoint was loaded."""
        if self._taken_on_host is None:
            self._taken_on_host = int(self.taken)
        return self._taken_on_host

    @property
    def is_on(self) -> bool:
        """Whether there is a Gram teacher."""
        return self.teachers > 0

    def forward(self, views, features, encode, copies=1):
        """Return the loss of a student's features of views, a scalar, mean over views; masked tokens count, too.

        The student has its copies of each record one after the other, the Gram teacher each record once.
        """
        gram, found = encode.using(self.teacher.encoders), []
        for view, own in zip(views, features, strict=True):
            with torch.no_grad():  # view by view, so that tokens are as many as the student's
                teacher_BTD = self.resized(gram([clean(view)])[0].tokens, own.tokens.shape[1])
            found.append(losses.gram_anchoring(own.tokens, teacher_BTD.repeat(copies, 1, 1), own.mask))
        return torch.stack(found).mean()

    def resized(self, tokens_BSD: Tensor, count: int) -> Tensor:
        """Return a map of S tokens at the student's resolution, (B, T, D) with T = `count`, bicubically.

        Raises:
            RecipeError: when the numbers of tokens differ, and are not those of grids of one aspect ratio.
        """
        size = tokens_BSD.shape[1]
        if size == count:
            return tokens_BSD
        own, wanted = (_grid_of(self.grid, number) for number in (size, count))
        if own is None or wanted is None:
            raise RecipeError(
                f"The views bring clean copies of which the Gram teacher has {size} tokens, and the student {count} of "
                "its own view, and they lie on no grids of one aspect ratio: leave the option clean_scale of the views "
                "out, or choose an encoder whose tokens lie on a grid."
            )
        map_BDHW = tokens_BSD.float().mT.unflatten(2, own)
        return F.interpolate(map_BDHW, size=wanted, mode="bicubic", align_corners=False).flatten(2).mT

    def warmed_up(self, progress):
        """Return the factor of the warm-up, 0 to 1, at a fraction of the training, a scalar on the device."""
        if not self.options.warmup:
            return torch.ones_like(progress)
        return ((progress - self.options.start) / self.options.warmup).clamp(0, 1)

    @torch.no_grad()
    def after_step(self, progress: float, teacher: Teacher) -> None:
        """Copy the EMA teacher where a Gram teacher is due."""
        due, taken = self.options.teachers(progress), self.teachers
        if due > taken:
            for mine, theirs in zip(_tensors(self.teacher.encoders), _tensors(teacher.encoders), strict=True):
                mine.copy_(theirs)
        if due != taken:  # fewer, where the training became longer
            self.taken.fill_(due)
            self._taken_on_host = due


def clean(view: View) -> View:
    """Return the view's clean copy, such as an image of a higher resolution without color jitter, or else the view."""
    if "clean" not in view.info:
        return view
    return replace(view, batch=view.batch.with_tensor(view.info["clean"]), info={})


def _grid_of(base: tuple[int, int] | None, count: int) -> tuple[int, int] | None:
    """Return rows and columns of so many tokens in the aspect ratio of a grid; None where there are none."""
    if base is None:
        return None
    side = math.sqrt(count / math.prod(base))
    rows, columns = (round(side * number) for number in base)
    return (rows, columns) if rows * columns == count and rows * base[1] == columns * base[0] else None


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _forget_taken(anchoring: GramAnchoring, _: object) -> None:
    anchoring._taken_on_host = None
