"""SimCLR, and the recipes that are settings of it."""

import pytest
import torch

from sensorium import losses
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions
from sensorium.registration.options import check_options
from tests.plugins.joint_embedding import learner_of, objective_class, views_of

SMALL = {"width": 32, "dim": 8}


def recipe_options(name):
    """The options that a shipped recipe gives its objective, which is 'simclr', with small heads."""
    objective = read_recipe(name, load_extensions({}, []).registry).objective.model_dump()
    assert objective.pop("name") == "simclr"
    return check_options(objective_class("simclr"), objective | SMALL, "objective")


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("simclr", lambda z1, z2: losses.nt_xent(z1, z2, 0.2)),
        ("hcl", lambda z1, z2: losses.hcl(z1, z2, 0.5, beta=1.0, prior=0.1)),
        ("decoupled", lambda z1, z2: losses.decoupled_contrastive(z1, z2, 0.2)),
    ],
)
def test_a_recipe_of_simclr_has_the_loss_of_its_paper(name, loss):
    learner, views = (
        learner_of("simclr", **recipe_options(name)).double().eval(),
        views_of("simclr", dtype=torch.double),
    )
    with torch.no_grad():
        z1, z2 = (learner.objective.project(learner.encoders["a"](v.batch).pooled) for v in views["a"])
        found = learner(views).loss
    assert torch.allclose(found, loss(z1, z2), rtol=1e-12)
    if name != "simclr":
        assert not torch.allclose(found, losses.nt_xent(z1, z2, learner.objective.temperature), rtol=1e-3)
