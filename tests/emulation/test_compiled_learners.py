"""`torch.compile` traces a learner whole, and once: further steps, with other records, are not traced again."""

import pytest
import torch
from torch import nn

from sensorium import Needs, Objective, Outcome
from sensorium.models.learner import Learner
from sensorium.seeding import seed_globals
from tests.golden.pairs import learner_and_views

STEPS = 5
PAIRS = [
    ("simclr", ("image",)),
    ("byol", ("image",)),
    ("vicreg", ("image",)),
    ("dino", ("timeseries",)),
    ("mae", ("audio",)),
    ("clip", ("audio", "image")),
    ("align", ("audio", "image")),
    ("volume", ("audio", "image")),
    ("volume", ("audio", "image", "text")),
]


def train_compiled(learner, views):
    """Take the first steps of a learner that is compiled whole; raises where it is traced in parts, or again."""
    torch._dynamo.reset()
    compiled = torch.compile(learner, fullgraph=True, backend="eager")
    for step in range(STEPS + 1):
        with torch.compiler.set_stance("fail_on_recompile" if step else "default"):
            seed_globals("compiled", step)
            compiled(views(step)).loss.backward()
        learner.objective.after_step((step + 1) / (STEPS + 1))


@pytest.mark.parametrize(("objective", "names"), PAIRS, ids=lambda v: v if isinstance(v, str) else "+".join(v))
def test_a_learner_is_traced_whole_and_once(objective, names):
    train_compiled(*learner_and_views(objective, names))


class Planted(Objective):
    """A mean of features, with a fault."""

    needs = Needs(views=2)

    def __init__(self, fault):
        super().__init__()
        self.fault, self.factor = fault, 1

    def build(self, encoders):
        self.head = nn.Linear(encoders.single.dim, 1)

    def forward(self, views, encode):
        loss = self.head(encode(views)[0].pooled).mean()
        if self.fault == "reads a value":
            loss = loss * (1 if loss.item() > 0 else 2)
        if self.fault == "counts its steps":
            loss = loss * [1.0, 2.0, 3.0][self.factor % 3]
        return Outcome(loss)

    def after_step(self, progress):
        self.factor += 1


def planted(fault):
    learner, views = learner_and_views("simclr", ("timeseries",))
    return Learner(dict(learner.encoders), Planted(fault), views=2), views


@pytest.mark.parametrize("fault", ["reads a value", "counts its steps"])
def test_a_planted_fault_is_found(fault):
    with pytest.raises(Exception, match=r"Tensor\.item|data-dependent|recompile"):
        train_compiled(*planted(fault))


def test_the_planted_faults_are_what_is_found():
    train_compiled(*planted(None))
