"""Part "steps": an optimizer step of every objective on every modality, eager and compiled, with no waiting allowed.

The pairs and their small sizes are those of `tests/golden/pairs.py`. The first step copies constants; the second one is
whole, and what makes the host wait in it is counted; of the third, views, forward and backward must not wait at all.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from sensorium.models.learner import make_views
from sensorium.seeding import generator
from sensorium.testing.bare_training import bare_training
from sensorium.training.loop import take_step
from tests.golden.pairs import kept, learner_and_generators, pairs, records_of

from .session import Row, Settings

TINY = [("simclr", ("image",)), ("clip", ("image", "text"))]
SHOWN = 3
"""Places where the host waits that a row names."""


def rows(settings: Settings) -> Iterator[Row]:
    """Yield every pair eager, then the first modality of each objective compiled."""
    served = TINY if settings.tiny else [(o, names) for o, names in pairs() if "+".join(names) in kept(o)]
    backend = "eager" if settings.tiny else "inductor"
    for objective, names in served:
        yield name_of(objective, names, "eager"), partial(steps, settings, objective, names, None)
    firsts: dict[str, tuple[str, ...]] = {}
    for objective, names in served:
        firsts.setdefault(objective, names)
    for objective, names in firsts.items():
        yield name_of(objective, names, "compiled"), partial(steps, settings, objective, names, backend)


def name_of(objective: str, names: tuple[str, ...], mode: str) -> str:
    """Return the name of a row."""
    return f"{objective} {'+'.join(names)}, {mode}"


def steps(settings: Settings, objective: str, names: tuple[str, ...], backend: str | None) -> dict[str, Any]:
    """Take three steps of a pair."""
    learner, generators = learner_and_generators(objective, names)
    with bare_training(settings.fabric(), learner, generators, 3, backend) as training:
        batches = [records_of(names, step) for step in range(3)]
        if settings.device.type != "cpu":
            batches = [batch.pin_memory().to(settings.device, non_blocking=True) for batch in batches]
        take_step(training, 0, batches[:1])
        with waits_counted(settings.device) as waits:
            taken = take_step(training, 1, batches[1:2])
        if taken is None:
            raise FloatingPointError("the loss or the gradient is not finite")
        rng = generator("third", device=settings.device)
        with no_waits(settings.device):
            outcome = training.module(make_views(batches[2], generators, rng))
            training.fabric.backward(outcome.loss)
        return {"loss": float(taken[1]), "synchronizations": len(waits), "places": waits[:SHOWN]}


@contextmanager
def waits_counted(device: torch.device) -> Iterator[list[str]]:
    """Yield a list that will have the file and line of whatever makes the host wait for the device."""
    places: list[str] = []
    with sync_debug_mode("warn", device), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield places
    places += [f"{w.filename}:{w.lineno}" for w in caught if "synchronizing CUDA operation" in str(w.message)]


def no_waits(device: torch.device) -> Any:
    """Raise an error for whatever makes the host wait for the device."""
    return sync_debug_mode("error", device)


@contextmanager
def sync_debug_mode(mode: str, device: torch.device) -> Iterator[None]:
    """Set torch's mode for operations that wait for the device; nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
