"""Views know their records; towers are held and freed."""

import pytest
import torch

from sensorium.assembly import make_plan
from sensorium.errors import RecipeError
from sensorium.learner import make_views
from sensorium.plugins.crossmodal.clip import CLIP
from sensorium.recipe import read_recipe
from sensorium.types import Record, RecordBatch, keys_of
from tests import toys
from tests.plugins.crossmodal.test_align import learner


def test_views_carry_the_keys_of_the_records_they_stand_for():
    present = torch.tensor([True, False, True])
    keys = keys_of([Record(name, {}) for name in "abc"])
    records = RecordBatch(list("abc"), {"x": toys.VectorBatch(torch.randn(2, 8))}, {"x": present}, keys)
    (view,) = make_views(records, {"x": _Same()}, torch.Generator())["x"]
    assert torch.equal(view.keys["record"], keys["record"][present])
    assert torch.equal(records.to("cpu").keys["group"], keys["group"])


class _Same:
    """The batch itself."""

    def __call__(self, batch, rng):
        from sensorium import View

        return [View(batch)]


def test_a_held_tower_is_freed_from_its_end():
    model = learner(CLIP(), ("a", "b"))
    weight, bias = model.encoders["a"].net.weight, model.encoders["a"].net.bias
    held = {}
    for progress in (0.0, 0.2, 0.4, 0.5, 0.9):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        model.hold({"a": (0.2, 0.6)}, progress)
        held[progress] = (weight.grad is None, bias.grad is None)
        assert all(p.grad is not None for p in model.encoders["b"].parameters())
        assert model.objective.log_scale.grad is not None
    assert held == {0.0: (True, True), 0.2: (True, True), 0.4: (True, False), 0.5: (True, False), 0.9: (False, False)}


def test_a_recipe_holds_a_tower(tmp_path):
    extensions = toys.extensions()
    plain = toys.pair_recipe()
    first = next(iter(plain["modalities"]))
    plain["modalities"][first]["unlock"] = [0.5, 1.0]
    plan = make_plan(read_recipe(plain, extensions.registry), extensions)
    assert plan.unlocking == {first: (0.5, 1.0)}
    plain["modalities"][first]["frozen"] = True
    with pytest.raises(RecipeError, match="without frozen"):
        read_recipe(plain, extensions.registry)
