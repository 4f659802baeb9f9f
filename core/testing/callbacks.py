"""Checks of callbacks, on the events of a short training."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from sensorium.contracts import Callback, Training
from sensorium.testing.checked_part import CheckedPart, expect
from sensorium.testing.equality import global_random_state, same
from sensorium.types import Outcome

STEPS, EACH = 6, 2


def leaves_the_random_state_alone(checked: CheckedPart) -> None:
    """No event draws from, or seeds, a global generator: the training would be another one."""
    for name, call in _events(checked.build(), range(STEPS)):
        before = global_random_state()
        call()
        expect(same(global_random_state(), before), f"{name} draws from a global generator, or seeds it")


def resumes_from_its_state(checked: CheckedPart) -> None:
    """A callback that is restored in the middle of a training ends it with the state of one that saw all of it."""
    whole, first, second = checked.build(), checked.build(), checked.build()
    _run(whole, range(STEPS))
    _run(first, range(STEPS // 2))
    state = copy.deepcopy(first.state_dict())
    with TemporaryDirectory() as folder:
        torch.save(state, Path(folder) / "state")
        second.load_state_dict(torch.load(Path(folder) / "state", weights_only=True))
    _run(second, range(STEPS // 2, STEPS))
    expect(
        same(_settled(second), _settled(whole)),
        "after a resume it is in another state than one that saw the whole training: return what it counts and keeps "
        "from state_dict, and take it back in load_state_dict",
    )


def _settled(callback: Callback) -> dict[str, Any]:
    """Return the plain values of a callback: what it counts and keeps, times aside, which differ by nature."""
    return {
        name: value
        for name, value in vars(callback).items()
        if isinstance(value, int | str | bool | list | dict | tuple | torch.Tensor)
    }


def _run(callback: Callback, steps: range) -> None:
    for _, call in _events(callback, steps):
        call()


def _events(callback: Callback, steps: range) -> Iterator[tuple[str, Any]]:
    """Iterate over the events of a training of which these steps are taken, as their names and what calls them."""
    with _training() as training:
        training.step = steps.start
        yield "before_training", lambda: callback.before_training(training)
        for step in steps:
            if step % EACH == 0:
                yield "before_epoch", lambda: callback.before_epoch(training)
            yield "before_step", lambda: callback.before_step(training)
            training.step, loss = step + 1, torch.tensor(1.0 / (step + 1))
            outcome = Outcome(loss, {"log": loss}, {"features": torch.eye(3)})
            yield "after_step", lambda loss=loss, outcome=outcome: callback.after_step(training, outcome, loss)
            if training.step % EACH == 0:
                metrics = dict.fromkeys(callback.needs_metrics, 0.5 + 0.01 * (step % 3))
                training.metrics |= {"loss": float(loss)} | {f"val/{name}": value for name, value in metrics.items()}
                yield "before_evaluation", lambda: callback.before_evaluation(training)
                yield "after_evaluation", lambda metrics=metrics: callback.after_evaluation(training, metrics)
                yield "before_checkpoint", lambda: callback.before_checkpoint(training)
                path = training.folder / "checkpoint.ckpt"
                yield "after_checkpoint", lambda path=path: callback.after_checkpoint(training, path)
                yield "after_epoch", lambda: callback.after_epoch(training)
        if steps.stop == STEPS:
            yield "after_training", lambda: callback.after_training(training)


@contextmanager
def _training() -> Iterator[Training]:
    learner = nn.Linear(3, 3)
    for weight in learner.parameters():
        nn.init.ones_(weight)
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    with TemporaryDirectory() as folder:
        yield Training(learner, optimizer, STEPS, EACH, folder=Path(folder))


CHECKS = (leaves_the_random_state_alone, resumes_from_its_state)
