"""Delivery ahead: on the CPU nothing happens; on CUDA, here a fake of its streams, copies run beside the step."""

from contextlib import contextmanager

import pytest
import torch

from sensorium.data.ahead import deliver_ahead
from sensorium.types import RankedValues, RecordBatch
from tests.toys import VectorBatch

STEPS = 4


def records(step):
    batch, other = (VectorBatch(torch.full((2, 3), float(x))) for x in (step, -step))
    keys = {"record": torch.tensor([2 * step, 2 * step + 1])}
    return RecordBatch(["a", "b"], {"x": batch}, {"x": None}, keys, negatives={"x": [RankedValues(other, None)]})


@pytest.fixture
def events(monkeypatch):
    """What the fake device is told to do, in order."""
    told, streams = [], ["computing"]

    class Stream:
        def __init__(self, device=None):
            self.copies = 0

        def record_event(self):
            self.copies += 1
            return f"copied {self.copies - 1}"

        def wait_event(self, event):
            told.append(f"wait for {event}")

    @contextmanager
    def stream(stream):
        streams.append("copying")
        yield
        streams.pop()

    def to(self, device, non_blocking=False):
        told.append(f"copy {int(self.values[0, 0])} on {streams[-1]}, {'ahead' if non_blocking else 'blocking'}")
        return self

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(VectorBatch, "to", to)
    monkeypatch.setattr(
        RecordBatch,
        "to",
        lambda self, device, non_blocking: self._each(lambda b: b.to(device, non_blocking), lambda x: x),
    )
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: told.append("keep"), raising=False)
    return told


class Device:
    """Equal to the device of tensors that are here."""

    type = "cuda"

    def __eq__(self, other):
        return other == torch.device("cpu")

    __hash__ = None


def test_on_the_cpu_batches_are_what_the_loader_made():
    made = [[records(step)] for step in range(STEPS)]
    for (given,), (delivered,) in zip(made, deliver_ahead(iter(made), torch.device("cpu")), strict=True):
        assert delivered.batches["x"].values is given.batches["x"].values
        assert delivered.keys["record"] is given.keys["record"]


def test_the_next_step_is_copied_before_this_one_computes(events):
    seen = []
    for (delivered,) in deliver_ahead(([records(step)] for step in range(1, STEPS)), Device()):
        seen.append(int(delivered.batches["x"].values[0, 0]))
        events.append(f"compute {seen[-1]}")
    assert seen == [1, 2, 3]
    copied = {step: [f"copy {step} on copying, ahead", f"copy {-step} on copying, ahead"] for step in seen}
    computed = {step: [f"wait for copied {step - 1}", "keep", "keep", "keep", f"compute {step}"] for step in seen}
    assert events == [*copied[1], *copied[2], *computed[1], *copied[3], *computed[2], *computed[3]]


def test_nothing_to_deliver(events):
    assert list(deliver_ahead([], Device())) == []
    assert events == []
