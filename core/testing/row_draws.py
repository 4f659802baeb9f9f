"""Random draws that are one for each record, cut to a rank's records, so that ranks draw what one process would."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sensorium.seeding import generator

_SIZED = ("rand", "randn", "randint")
_LIKE = ("rand_like", "randn_like", "randint_like", "bernoulli")
_IN_PLACE = ("uniform_", "normal_", "exponential_", "bernoulli_", "random_", "geometric_", "log_normal_")
_OTHER = ("randperm", "multinomial", "native_dropout")


class RowDraws(TorchDispatchMode):
    """Within it, what is drawn from the global generator for every record of a rank is a slice of one joined draw.

    A draw is of records where its first axis is as long as the rank has records. What else is drawn is left alone, and
    its shape noted.

    Args:
        start: number of the rank's first record among those of the batch.
        stop: number behind that of its last.
        records: number of records of the batch.
        seed: of the joined draws, the same on every rank.
    """

    def __init__(self, start: int, stop: int, records: int, seed: int) -> None:
        super().__init__()
        self._start, self._stop, self._records = start, stop, records
        self._generator = generator("row draws", seed)
        self.others: list[tuple[int, ...]] = []
        """Shapes of the draws that are not one for each record."""
        self.of_records = 0
        """Number of the draws that are."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation."""
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        if name not in (*_SIZED, *_LIKE, *_IN_PLACE, *_OTHER) or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        made = func(*args, **kwargs)
        first = made[0] if isinstance(made, tuple) else made
        if name in _OTHER or not first.ndim or len(first) != self._stop - self._start:
            self.others.append(tuple(first.shape))
            return made
        self.of_records += 1
        made.copy_(self._joined(name, func, args, kwargs, made)[self._start : self._stop])
        return made

    def _joined(self, name: str, func: Any, args: Any, kwargs: Any, made: Tensor) -> Tensor:
        """Return the draw of all records."""
        like = made.new_empty(self._records, *made.shape[1:])
        if name in ("rand", "rand_like"):
            return like.uniform_(generator=self._generator)
        if name in ("randn", "randn_like"):
            return like.normal_(generator=self._generator)
        if name == "bernoulli":
            threshold = torch.rand(like.shape, generator=self._generator)[self._start : self._stop]
            return like.index_copy_(0, torch.arange(self._start, self._stop), (threshold < args[0]).to(like.dtype))
        if name in ("randint", "randint_like"):
            bounds = [number for number in args if isinstance(number, int)]
            low, high = (0, bounds[0]) if len(bounds) == 1 else bounds[:2]
            return like.random_(low, high, generator=self._generator)
        return getattr(like, name)(*args[1:], generator=self._generator, **kwargs)
