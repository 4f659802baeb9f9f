import pytest
import torch
from torch import nn

import sensorium
from sensorium.models.plan import make_plan
from sensorium.optimizers.groups import hidden_matrices, parameter_groups
from sensorium.recipe import read_recipe
from tests import toys


def names(learner, weights):
    of = {id(weight): name for name, weight in learner.named_parameters()}
    return {of[id(weight)] for weight in weights}


def test_only_matrices_decay():
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    module[1].weight.requires_grad_(False)
    groups = parameter_groups(module, 0.3)
    assert [(group["weight_decay"], [tuple(p.shape) for p in group["params"]]) for group in groups] == [
        (0.3, [(4, 3)]),
        (0.0, [(4,), (4,)]),
    ]


class Tower(sensorium.Encoder):
    """Every kind of weight that an encoder may have."""

    dim = 4

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 2)
        self.kernel, self.channelwise = nn.Conv2d(4, 4, 2), nn.Conv2d(4, 4, 2, groups=4)
        self.ids, self.positions = nn.Embedding(5, 4), nn.Parameter(torch.zeros(1, 7, 4))
        self.attention, self.norm, self.recurrent = nn.MultiheadAttention(4, 2), nn.LayerNorm(4), nn.GRU(4, 4)

    def forward(self, batch):
        raise NotImplementedError


def test_hidden_matrices_are_those_between_the_first_and_the_last_layer():
    tower, head = Tower(), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    learner = nn.ModuleDict({"encoder": tower, "head": head, "prototypes": nn.Linear(3, 10)})
    assert names(learner, hidden_matrices(learner)) == {
        "encoder.kernel.weight",
        "encoder.attention.in_proj_weight",
        "encoder.attention.out_proj.weight",
        "encoder.recurrent.weight_ih_l0",
        "encoder.recurrent.weight_hh_l0",
        "head.0.weight",
    }
    head[0].weight.requires_grad_(False)
    assert "head.0.weight" not in names(learner, hidden_matrices(learner)), "frozen"


def test_a_head_and_an_encoder_alone_have_their_ends_too():
    assert hidden_matrices(nn.Sequential(nn.Dropout(), nn.Linear(4, 3))) == []
    tower = Tower()
    assert "patches.weight" not in names(tower, hidden_matrices(tower))


@pytest.mark.parametrize(("objective", "heads"), [("simclr", ["project"]), ("byol", ["project", "predict"])])
def test_those_of_a_recipe(objective, heads):
    """The toy encoder has an input layer and one hidden layer; a teacher is not trained."""
    extensions = toys.extensions()
    recipe = read_recipe(toys.recipe(objective=objective), extensions.registry)
    learner = make_plan(recipe, extensions).learner()
    hidden = {"encoders.a.net.4.weight", *(f"objective.{head}.0.weight" for head in heads)}
    assert names(learner, hidden_matrices(learner)) == hidden
