import math

import pytest
import torch

from sensorium import losses
from sensorium.errors import SensoriumError
from sensorium.plugins.crossmodal.siglip import SigLIP
from tests.plugins.crossmodal.test_align import PRESENT, joint, learner, views

PAIR = {name: PRESENT[name] for name in ("a", "b")}


def test_the_loss_is_that_of_the_pairs_there_are():
    model, given = learner(SigLIP(), ("a", "b")), views(present=PAIR)
    both = PRESENT["a"] & PRESENT["b"]
    outcome = model(given)
    expected = losses.siglip(joint(model, given, "a")[both], joint(model, given, "b")[both], 10.0, -10.0)
    assert torch.allclose(outcome.loss, expected, rtol=1e-6)
    assert math.isclose(outcome.logs["scale"], 10.0, rel_tol=1e-6)
    assert outcome.logs["pairs"] == both.sum()


def test_training_lowers_the_loss_and_moves_scale_and_bias():
    model = learner(SigLIP(bias=-2.7), ("a", "b"))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    found = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = model(views(present=PAIR)).loss
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    assert found[-1] < 0.3 * found[0]
    assert model.objective.bias != -2.7
    assert model.objective.log_scale != math.log(10)


def test_it_takes_two_modalities():
    with pytest.raises(SensoriumError, match=r"SigLIP takes 2 modalities, but here are 3 \(a, b, c\)"):
        learner(SigLIP())
