"""Random draws of a part of a batch that are those of the whole batch, cut to the rows of the part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

PIECE = 2**26
"""Numbers that are drawn at a time; whoever asks for more, such as noise on every pixel, gets them in pieces."""
_OF_SIZE = ("rand", "randn", "randint", "normal")
_LIKE = ("rand_like", "randn_like", "randint_like", "bernoulli", "multinomial", "poisson", "_standard_gamma", "normal")
_IN_PLACE = (
    *("uniform_", "normal_", "exponential_", "bernoulli_", "random_"),
    *("geometric_", "log_normal_", "cauchy_"),
)
_DRAWS = {*_OF_SIZE, *_LIKE, *_IN_PLACE, "randperm"}


@dataclass(frozen=True)
class Rows:
    """Which rows of a batch a part of it has.

    Args:
        first: number of its first row.
        count: how many it has.
        total: rows of the whole batch.
    """

    first: int
    count: int
    total: int


@dataclass(frozen=True)
class Place:
    """Where the rows of a part are in what is drawn for them.

    Args:
        axis: 0 or 1.
        copies: how often they are there, one copy after the other: once for each of the views that are made together.
    """

    axis: int
    copies: int = 1

    def resized(self, sizes: Sequence[int], rows: int) -> list[int]:
        """Return sizes with another number of rows."""
        return [rows * self.copies if axis == self.axis else size for axis, size in enumerate(sizes)]

    def rows_first(self, x: Tensor) -> Tensor:
        """Return the entries of each row, of all copies, along the first axis."""
        return x.unflatten(0, (self.copies, -1)).transpose(0, 1) if self.axis == 0 else x.transpose(0, 1)

    def rows_back(self, x: Tensor) -> Tensor:
        """Return what `rows_first` returned as it was, contiguous."""
        x = x.transpose(0, 1).contiguous()
        return x.flatten(0, 1) if self.axis == 0 else x


class RowDraws(TorchFunctionMode):
    """Within it, numbers that are drawn for the rows of a part are those that the whole batch would have drawn.

    So every part, on whatever rank, has the views of the batch that is not cut, and a generator that all of them seed
    alike is left in one state. A draw is of rows where its first axis is as long as the part has rows, or a multiple of
    it (copy after copy), or else its second one. All others, such as one number for the batch, are left as they are,
    and are the same in all parts. The draws of a Poisson or gamma distribution take as many numbers as they happen to
    need, so that later ones differ.

    Args:
        rows: those of the part.
        shown: how many the generator is shown, of which those behind the part's own repeat them; None for no more.
    """

    def __init__(self, rows: Rows, shown: int | None = None) -> None:
        super().__init__()
        self._draws = _Draws(rows, rows.count if shown is None else shown)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one function of torch; those that cannot draw pass at once."""
        if isinstance(func, FunctionType) or getattr(func, "__name__", "") in _DRAWS:
            with self._draws:
                return func(*args, **kwargs or {})
        return func(*args, **kwargs or {})


class _Draws(TorchDispatchMode):
    """The operations that draw, where the arguments of each stand in one form.

    Args:
        rows: those of the part.
        shown: how many the generator is shown.
    """

    def __init__(self, rows: Rows, shown: int) -> None:
        super().__init__()
        self._rows, self._shown = rows, shown

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation."""
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        if name not in _DRAWS or self._rows.total == self._rows.count == self._shown:
            return func(*args, **kwargs)
        if name == "randperm":
            return self._permutation(func, args, kwargs)
        if name in _OF_SIZE and (sizes := next((a for a in args if isinstance(a, list | tuple)), None)) is not None:
            return self._of_size(func, args, kwargs, list(sizes))
        if name in _IN_PLACE:
            return self._in_place(func, args, kwargs)
        return self._like(func, args, kwargs)

    def _place(self, sizes: Sequence[int]) -> Place | None:
        """Return where rows are in a draw of some size; None if nowhere."""
        if sizes and sizes[0] and sizes[0] % self._shown == 0:
            return Place(0, sizes[0] // self._shown)
        return Place(1) if len(sizes) > 1 and sizes[1] == self._shown else None

    def _of_size(self, func: Any, args: Any, kwargs: Any, sizes: list[int]) -> Tensor:
        """Return a draw of some size."""
        if (place := self._place(sizes)) is None:
            return func(*args, **kwargs)

        def drawn(rows: int) -> Tensor:
            wide = place.resized(sizes, rows)
            return func(*(wide if isinstance(a, list | tuple) else a for a in args), **kwargs)

        per_row = math.prod(sizes) // sizes[place.axis]
        if place != Place(0) or per_row * self._rows.total <= PIECE:
            return self._own(drawn(self._rows.total), place)
        return self._repeated(
            torch.cat([self._overlap(start, drawn(stop - start)) for start, stop in self._pieces(per_row)])
        )

    def _pieces(self, per_row: int) -> list[tuple[int, int]]:
        """Return bounds of rows that are drawn at a time: multiples of 16, as normal numbers are drawn 16 at a time."""
        step = max(PIECE // per_row // 16, 1) * 16
        starts = list(range(0, max(self._rows.total - 15, 1), step))  # the last has 16 rows, too
        return list(zip(starts, [*starts[1:], self._rows.total], strict=True))

    def _overlap(self, start: int, drawn: Tensor) -> Tensor:
        """Return what of some rows, the first of them numbered `start`, is of the part."""
        first = max(self._rows.first - start, 0)
        return drawn[first : max(self._rows.first + self._rows.count - start, 0)]

    def _own(self, drawn: Tensor, place: Place) -> Tensor:
        """Return the rows that the generator is shown of those of the whole batch."""
        own = place.rows_first(drawn)[self._rows.first : self._rows.first + self._rows.count]
        return place.rows_back(self._repeated(own))

    def _repeated(self, own: Tensor) -> Tensor:
        """Return a copy of the part's own rows, as often as the generator is shown them."""
        return own.index_select(0, torch.arange(self._shown, device=own.device) % self._rows.count)

    def _wide(self, x: Any, place: Place) -> Any:
        """Return a tensor with all rows, its own at their place and repeated elsewhere; anything else as it is."""
        if not isinstance(x, Tensor) or self._place(x.shape) != place:
            return x
        index = torch.arange(self._rows.total, device=x.device) - self._rows.first
        return place.rows_back(place.rows_first(x).index_select(0, index.remainder(self._shown)))

    def _like(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Return a draw by the entries of tensors: of their shape, or with their probabilities."""
        shaped = next((x for x in args if isinstance(x, Tensor)), None)
        if shaped is None or (place := self._place(shaped.shape)) is None:
            return func(*args, **kwargs)
        return self._own(func(*(self._wide(x, place) for x in args), **kwargs), place)

    def _in_place(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """Fill a tensor."""
        x, *rest = args
        if (place := self._place(x.shape)) is None:
            return func(*args, **kwargs)
        wide = x.new_empty(place.resized(x.shape, self._rows.total))
        return x.copy_(self._own(func(wide, *(self._wide(a, place) for a in rest), **kwargs), place))

    def _permutation(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """Return a permutation; one of the rows is that of all rows, without those of other parts."""
        count, *rest = args
        if count != self._shown:
            return func(*args, **kwargs)
        drawn = func(self._rows.total, *rest, **kwargs)
        order = drawn[self._rows.first : self._rows.first + self._rows.count].argsort().argsort()
        return torch.cat([order, torch.arange(self._rows.count, count, device=order.device)])
