"""Views know their records; towers are held and freed."""

import numpy as np
import pytest
import torch
from torch import nn

from sensorium import build
from sensorium.errors import RecipeError
from sensorium.models.learner import Learner, make_views
from sensorium.models.plan import make_plan
from sensorium.plugins.crossmodal.clip import CLIP
from sensorium.recipe import read_recipe
from sensorium.testing.synthetic import ToyEncoder, toy_views
from sensorium.types import Features, Record, RecordBatch, View, record_keys
from tests import toys
from tests.plugins.crossmodal.test_align import learner


def test_views_carry_the_keys_of_the_records_they_stand_for():
    present = np.array([True, False, True])
    keys = record_keys([Record(name, {}) for name in "abc"])
    records = RecordBatch(list("abc"), {"x": toys.VectorBatch(torch.randn(2, 8))}, {"x": present}, keys)
    (view,) = make_views(records, {"x": _Same()}, torch.Generator())["x"]
    assert torch.equal(view.keys["record"], keys["record"][[0, 2]])
    records.present["x"], records.batches["x"] = None, toys.VectorBatch(torch.randn(3, 8))
    (view,) = make_views(records, {"x": _Same()}, torch.Generator())["x"]
    assert view.keys is keys
    assert torch.equal(records.to("cpu").keys["group"], keys["group"])


def test_what_a_generator_returns_is_never_written_to():
    made = View(toys.VectorBatch(torch.randn(2, 8)))
    records = RecordBatch(list("ab"), {"a": made.batch}, {"a": None}, {})
    (view,) = make_views(records, {"a": lambda batch, rng: [made]}, torch.Generator())["a"]
    assert view.modality == "a"
    assert (made.modality, made.present, made.keys) == ("", None, {})


class _Same:
    """The batch itself."""

    def __call__(self, batch, rng):
        return [View(batch)]


def test_a_frozen_tower_is_unfrozen_from_its_last_layer():
    model = learner(CLIP(), ("a", "b"))
    weight, bias = model.encoders["a"].net.weight, model.encoders["a"].net.bias
    held = {}
    for progress in (0.0, 0.2, 0.4, 0.5, 0.9):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        model.drop_frozen_gradients({"a": (0.2, 0.6)}, progress)
        held[progress] = (weight.grad is None, bias.grad is None)
        assert all(p.grad is not None for p in model.encoders["b"].parameters())
        assert model.objective.log_scale.grad is not None
    assert held == {0.0: (True, True), 0.2: (True, True), 0.4: (True, False), 0.5: (True, False), 0.9: (False, False)}


def test_layers_that_are_held_are_in_evaluation_mode():
    encoder = nn.Sequential(
        nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()), nn.Dropout(), nn.BatchNorm1d(2), nn.Linear(2, 2)
    )
    encoder.dim = 2
    model = Learner({"a": encoder, "b": toys.MLP(toys.VectorModality(2))}, CLIP()).train()
    modes = {}
    for progress in (0.1, 0.65, 1.0):
        model.freeze_statistics({"a": (0.2, 1.0)}, progress)
        modes[progress] = [encoder[0][0].training, encoder[0][1].training, encoder[1].training, encoder[2].training]
        assert all(module.training for module in model.encoders["b"].modules())
    assert modes == {0.1: [False] * 4, 0.65: [False, False, True, True], 1.0: [True] * 4}
    model.eval()
    model.freeze_statistics({"a": (0.2, 1.0)}, 1.0)
    assert not any(module.training for module in encoder.modules())


def test_a_recipe_holds_a_tower(tmp_path):
    extensions = toys.extensions()
    plain = toys.pair_recipe()
    first = next(iter(plain["modalities"]))
    plain["modalities"][first]["unfreeze"] = [0.5, 1.0]
    plan = make_plan(read_recipe(plain, extensions.registry), extensions)
    assert plan.unfreezing == {first: (0.5, 1.0)}
    plain["modalities"][first]["frozen"] = True
    with pytest.raises(RecipeError, match="excludes frozen"):
        read_recipe(plain, extensions.registry)


class _PooledApart(ToyEncoder):
    """A toy whose pooled features have weights of their own, and whose tokens have others."""

    def __init__(self) -> None:
        super().__init__()
        self.of_pooled, self.of_tokens = nn.Linear(16, 16), nn.Linear(16, 16)

    def encode_tokens(self, tokens, keep=None):
        features = super().encode_tokens(tokens, keep)
        return Features(self.of_pooled(features.pooled), self.of_tokens(features.tokens))


@pytest.mark.parametrize("objective", ["mae", "simclr"])
def test_weights_that_an_objective_does_not_use_have_a_gradient_of_zero(objective):
    torch.manual_seed(0)
    learner = Learner({"toy": _PooledApart()}, build("objective", objective))
    views = toy_views(torch.rand(4, 8, 4), learner.objective.needs.views, torch.Generator(), "toy")
    learner(views).loss.backward()
    encoder = learner.encoders["toy"]
    assert all(p.grad is not None for p in encoder.parameters())
    unused, used = (encoder.of_pooled, encoder.of_tokens)[:: 1 if objective == "mae" else -1]
    assert not unused.weight.grad.any()
    assert used.weight.grad.any()
