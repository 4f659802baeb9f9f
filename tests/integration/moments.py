"""Signals that reach a training, or an evaluation, at a certain moment of it.

As a program, `python -m tests.integration.moments MOMENT SIGNAL WORD...` runs `sensorium WORD...` and sends itself the
signal at that moment.
"""

from __future__ import annotations

import os
import signal
import sys

import pytest

from sensorium.data import loader
from sensorium.evaluation import part_reader
from sensorium.evaluation.tables import ResultsTable
from sensorium.models.model import Model
from sensorium.runs import checkpoint
from sensorium.training import loop

MIDDLE = 5
"""The step, counted from 0, in which a training receives its signal in the middle."""


def _at_step(wanted):
    return lambda t, step, parts: step == wanted


MOMENTS = {
    "reading": (part_reader, "assign_parts", lambda *_: True),
    "cache": (loader, "fill_cache", lambda *_: True),
    "first step": (loop, "take_step", _at_step(0)),
    "mid training": (loop, "take_step", _at_step(MIDDLE)),
    "checkpoint write": (checkpoint.torch, "save", lambda state, path: "step-000000003" in str(path)),
    "model write": (Model, "save", lambda *_: True),
}
"""Moment -> what is called then: its owner, its name, and whether a call is the one."""


def signal_at(moment: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process receive a signal at a moment: before a call of `MOMENTS`, or after the first table."""
    sent = []

    def send() -> None:
        if not sent:
            sent.append(number)
            os.kill(os.getpid(), number)

    if moment == "evaluation":
        write = ResultsTable.write

        def and_then(*args, **kwargs):
            write(*args, **kwargs)
            send()

        monkeypatch.setattr(ResultsTable, "write", and_then)
        return
    owner, name, is_the_one = MOMENTS[moment]
    called = getattr(owner, name)

    def after_the_signal(*args, **kwargs):
        if is_the_one(*args):
            send()
        return called(*args, **kwargs)

    monkeypatch.setattr(owner, name, after_the_signal)


if __name__ == "__main__":
    from sensorium.cli.main import main

    asked, by, *words = sys.argv[1:]
    signal_at(asked, signal.Signals[by], pytest.MonkeyPatch())
    main(words)
