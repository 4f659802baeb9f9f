"""Objectives with options that the golden pairs leave at their defaults, on the emulated device."""

import math

import numpy as np
import pytest
import torch

from sensorium import NegativeOptions
from sensorium.models.learner import Learner
from sensorium.plugins.distillation.gram_anchoring import GramOptions
from sensorium.testing.emulation import emulate_steps, table
from tests.emulation.test_laws import LIMIT
from tests.golden.pairs import learner_and_generators, records_of, registry, small

TWO = ("audio", "text")
ONE = ("timeseries",)
EVERYTHING = {"beta": 0.5, "prior": 0.1, "memory": 24, "mixed": 6, "hardest": 4, "exclude": "group"}
CASES = [
    ("clip", TWO, {"negatives": NegativeOptions(**EVERYTHING, guide="text")}),
    ("clip", TWO, {"negatives": NegativeOptions(**EVERYTHING, warmup=(0.0, 0.9))}),
    ("clip", TWO, {"positives": "group"}),
    ("clip", TWO, {"direction": "second"}),
    ("siglip", TWO, {}),
    ("fastclip", TWO, {}),
    ("align", TWO, {"negatives": NegativeOptions(**EVERYTHING)}),
    ("align", TWO, {"anchor": "text"}),
    ("simclr", ONE, {"negatives": NegativeOptions(**EVERYTHING)}),
    ("simclr", ONE, {"negatives": NegativeOptions(alpha=0.0)}),
    ("moco", ONE, {"negatives": NegativeOptions(beta=0.5, mixed=6, hardest=4)}),
    ("volume", TWO, {"kind": "symile", "negatives": "n^2"}),
    ("volume", ("image", "text", "audio"), {}),
    ("volume", ("image", "text", "audio"), {"kind": "triangle"}),
    ("volume", ("image", "text", "audio"), {"kind": "symile", "negatives": "n^2"}),
    ("data2vec", ("audio",), {"masks": 2, "visible_only": True}),
    ("data2vec", ("audio",), {"masks": 2}),
    ("jepa", ("image",), {"masks": 2}),
    ("dinov2", ("image",), {"masks": 2}),
    ("graphmae", ("text",), {"replace_ratio": 0.5}),
    ("predict", ONE, {"balance": 0.5, "width": 8}),
    ("ts2vec", ONE, {}),
    ("dinov2", ("text",), {"gram": GramOptions(start=0.0, warmup=0.5, refresh=0.1), "final_momentum": 0.99}),
]


def steps_of(objective, names, options, change=lambda records: records):
    """Return two steps on the emulated device of an objective with options."""
    cls = registry().find("objectives", objective).load()
    made, generators = learner_and_generators(objective, names)
    views = max(generator.views for generator in generators.values())
    classes = next((g.classes for g in generators.values() if g.classes is not None), None)
    learner = Learner(dict(made.encoders), cls(**small(cls) | options), classes, views).train()
    return emulate_steps(learner, generators, [change(records_of(names, step)) for step in range(2)])


@pytest.mark.parametrize(
    ("objective", "names", "options"), CASES, ids=[f"{i}-{o}" for i, (o, _, _) in enumerate(CASES)]
)
def test_a_step_with_options_runs_on_a_gpu_and_seldom_waits_for_it(objective, names, options):
    steps = steps_of(objective, names, options)
    assert all(map(math.isfinite, steps.losses))
    assert len(steps.synchronizations[-1]) <= LIMIT, table(steps.synchronizations[-1])


def with_missing(records):
    """Return the records without the first modality of two and the second of three others."""
    (one, other), present = records.batches, np.ones(len(records), dtype=bool)
    lacks_one, lacks_other = present.copy(), present.copy()
    lacks_one[[1, 4]], lacks_other[[2, 3, 5]] = False, False
    records.batches[one] = records.batches[one].select(torch.from_numpy(lacks_one.nonzero()[0]))
    records.batches[other] = records.batches[other].select(torch.from_numpy(lacks_other.nonzero()[0]))
    records.present = {one: lacks_one, other: lacks_other}
    return records


@pytest.mark.parametrize("objective", ["clip", "align", "siglip", "fastclip", "volume"])
def test_records_that_lack_a_modality_make_nobody_wait(objective):
    options = {} if objective in ("fastclip", "volume") else {"negatives": NegativeOptions(memory=24)}
    steps = steps_of(objective, TWO, options, with_missing)
    assert all(map(math.isfinite, steps.losses))
    assert len(steps.synchronizations[-1]) <= LIMIT, table(steps.synchronizations[-1])
