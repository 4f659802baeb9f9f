"""Which generators draw: one that has the same seed whatever a part was given draws the same in every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class _Draws(TorchDispatchMode):
    """Within it, the seeds of the torch generators that draw are noted."""

    def __init__(self) -> None:
        super().__init__()
        self.seeds: set[object] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags:
            given = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Generator)]
            self.seeds |= {generator.initial_seed() for generator in given}
        return func(*args, **kwargs)


def seeds_of_draws(call: Callable[[], object]) -> set[object]:
    """Return the seeds of the torch generators that draw during a call, and of the NumPy generators made in it.

    Draws from torch's global generator have no seed of their own here.
    """
    with _Draws() as draws, mock.patch.object(np.random, "default_rng", wraps=np.random.default_rng) as made:
        call()
    return draws.seeds | {repr(args) for args in made.call_args_list if args.args and args.args[0] is not None}
