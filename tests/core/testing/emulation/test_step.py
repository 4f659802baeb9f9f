"""A step on the emulated device is the loop's own, and the faults that are planted in it are found."""

import math

import pytest
import torch
from torch import nn

from sensorium import Needs, Objective, Outcome
from sensorium.models.learner import Learner, make_views
from sensorium.seeding import generator, seed_globals
from sensorium.testing.emulation import emulate_steps
from sensorium.testing.synthetic import ToyBatch, ToyEncoder, ToyViews, toy_records
from sensorium.types import Record, RecordBatch, record_keys

ROWS = 8


class Mean(Objective):
    """The mean of a linear map of features, after a change that a fault is planted in."""

    needs = Needs(views=2)

    def __init__(self, change=lambda x: x):
        super().__init__()
        self.change = change

    def build(self, encoders):
        self.head = nn.Linear(encoders.single.dim, 4)

    def forward(self, views, encode):
        return Outcome(self.change(self.head(encode(views)[0].pooled)).float().mean())


def learner(**options):
    seed_globals("emulated step")
    return Learner({"toy": ToyEncoder()}, Mean(**options), views=2)


def records():
    named = [Record(str(number), {}) for number in range(ROWS)]
    batch = ToyBatch(toy_records(ROWS, generator("emulated step")))
    return RecordBatch([r.id for r in named], {"toy": batch}, {"toy": None}, record_keys(named))


def emulated(precision="bf16-mixed", steps=2, **options):
    return emulate_steps(learner(**options), {"toy": ToyViews("toy", 2)}, [records()] * steps, precision)


def into_fp32(x):
    index = torch.arange(len(x), device=x.device)
    return torch.zeros(x.shape, device=x.device).index_add(0, index, x)


def test_in_fp32_its_loss_is_that_of_the_cpu_and_training_lowers_it():
    views = make_views(records(), {"toy": ToyViews("toy", 2)}, generator(0, "views", 0, 0, 0))
    losses = emulated("32-true").losses
    assert losses[0] == pytest.approx(float(learner()(views).loss.detach()), rel=1e-6)
    assert losses[1] < losses[0]


def test_in_mixed_precision_its_loss_is_that_of_the_cpu_to_half_precision():
    assert emulated().losses[0] == pytest.approx(emulated("32-true").losses[0], abs=0.02)


def test_a_sound_step_reads_once_whether_it_was_finite():
    (found,) = emulated(steps=1).synchronizations
    assert len(found) == 1
    assert "finite_guard" in found[0].where[0]


def test_a_planted_read_is_found_at_its_line():
    _, found = emulated(change=lambda x: x * float(x.detach().amax())).synchronizations
    assert len(found) == 2
    assert any("test_step.py" in each.where[0] for each in found)


def test_a_planted_mix_of_devices_is_found():
    with pytest.raises(RuntimeError, match="same device"):
        emulated(change=lambda x: x + torch.ones(4))


def test_a_planted_clash_of_dtypes_is_found_in_mixed_precision_alone():
    with pytest.raises(RuntimeError, match="same scalar type"):
        emulated(change=into_fp32)
    assert emulated("32-true", change=into_fp32).losses


def test_a_step_that_is_not_finite_is_skipped_as_in_a_training():
    assert all(map(math.isnan, emulated(change=lambda x: x * torch.nan).losses))
