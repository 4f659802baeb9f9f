"""Towers that share an encoder: one module, one modality, one head; gradients are sums."""

import copy

import pytest
import torch

from sensorium.errors import RecipeError
from sensorium.models.learner import Learner, make_views
from sensorium.models.plan import make_plan
from sensorium.plugins.contrastive.simclr import SimCLR
from sensorium.plugins.crossmodal.align import Align
from sensorium.plugins.crossmodal.clip import CLIP
from sensorium.plugins.distillation.byol import BYOL
from sensorium.recipe import read_recipe
from sensorium.types import RecordBatch
from tests import toys
from tests.core.training.test_gradient_cache import Net, alike, cached, gradients, plain, records

SHARED = {"a": "a", "b": "a"}


def recipe_of(objective="clip", **towers):
    tower = {"modality": "vector", "views": {"name": "noise", "views": 1}, "encoder": {"name": "mlp", "dropout": 0.0}}
    shared = {"views": {"name": "noise", "views": 1}, "encoder": {"share": "a"}}
    plain_recipe = toys.recipe(objective={"name": objective, "dim": 8})
    return plain_recipe | {"modalities": {"a": tower | towers.get("a", {}), "b": shared | towers.get("b", {})}}


def plan_of(*overrides, **options):
    extensions = toys.extensions()
    return make_plan(read_recipe(recipe_of(**options), extensions.registry, overrides), extensions)


def learner_of(objective, names, sharing):
    torch.manual_seed(0)
    encoders = {name: Net() for name in dict.fromkeys(sharing.values())}
    return Learner(encoders, objective, views=len(names), sharing=sharing).double().train()


def test_there_is_one_modality_one_encoder_and_one_projection():
    plan = plan_of()
    assert plan.modalities["b"] is plan.modalities["a"]
    plan.modalities["a"].fit(["1 2 3 4 5 6 7 8"])
    learner = plan.learner()
    assert list(learner.encoders) == ["a"]
    assert learner.encoder("b") is learner.encoder("a")
    assert learner.objective.project["b"] is learner.objective.project["a"]
    apart = plan_of("modalities.b={modality: vector, views: {name: noise, views: 1}, encoder: {name: mlp, dropout: 0}}")
    apart.modalities["a"].fit(["1 2 3 4 5 6 7 8"])
    apart.modalities["b"].fit(["1 2 3 4 5 6 7 8"])
    count = sum(p.numel() for p in learner.parameters())
    assert sum(p.numel() for p in apart.learner().parameters()) == 2 * count - 1  # but for the logit scale


def test_a_recipe_writes_the_share_as_it_was_given():
    extensions = toys.extensions()
    recipe = read_recipe(recipe_of(), extensions.registry)
    assert recipe.plain()["modalities"]["b"]["encoder"] == {"share": "a"}
    assert recipe.plain()["modalities"]["a"]["encoder"] == {"name": "mlp", "dropout": 0.0}
    assert read_recipe(recipe.plain(), extensions.registry) == recipe


def test_sharing_replaces_an_encoder_with_its_options_and_the_other_way_round():
    own = {"encoder": {"name": "mlp", "dropout": 0.0}, "modality": "vector"}
    assert plan_of("modalities.b.encoder.share=a", b=own).recipe.sharing == SHARED
    assert plan_of("modalities.b.encoder={share: a}", b=own).recipe.sharing == SHARED
    apart = plan_of("modalities.b.encoder.name=mlp", "modalities.b.modality=vector")
    assert apart.recipe.sharing == {"a": "a", "b": "b"}


@pytest.mark.parametrize(
    ("tower", "sentence"),
    [
        (
            {"encoder": {"share": "c"}},
            r"modalities.b.encoder shares that of 'c', which has none of its own; towers .* a",
        ),
        ({"encoder": {"share": "b"}}, "shares that of 'b', which has none of its own"),
        ({"encoder": {"share": "a", "dim": 4}}, "share takes the encoder of 'a' as it is: leave out dim"),
        ({"encoder": {"dim": 4}}, "name an encoder, or the tower whose encoder is shared"),
        ({"frozen": True}, "frozen belongs to the tower that has the encoder, 'a'"),
        ({"frozen": 0, "lora": {}}, "frozen and lora belong to the tower that has the encoder, 'a'"),
        ({"modality": {"name": "vector", "width": 4}}, "leave modalities.b.modality out, or write the same"),
    ],
)
def test_a_share_that_cannot_be_is_named(tower, sentence):
    with pytest.raises(RecipeError, match=sentence):
        plan_of(b=tower)


def test_an_objective_of_one_modality_counts_the_views_of_all_towers():
    assert plan_of(objective="simclr").views == 2
    with pytest.raises(RecipeError, match=r"needs 2 view\(s\) .* the towers a, b, which are views .* make 4 together"):
        plan_of("modalities.a.views.views=2", "modalities.b.views.views=2", objective="simclr")
    with pytest.raises(RecipeError, match=r"has 2 \(a, b\).*share an encoder, {share: OTHER}, count as one"):
        plan_of(objective="simclr", b={"encoder": "mlp", "modality": "vector"})


def test_gradients_are_the_sum_over_both_towers():
    values, masks = records(["a", "b"])
    shared = learner_of(CLIP(dim=4), ["a", "b"], SHARED)
    apart = learner_of(CLIP(dim=4), ["a", "b"], {"a": "a", "b": "b"})
    apart.encoders["b"].load_state_dict(apart.encoders["a"].state_dict())
    shared.encoders["a"].load_state_dict(apart.encoders["a"].state_dict())
    for name in ("a", "b"):
        apart.objective.project[name].load_state_dict(shared.objective.project["a"].state_dict())
    losses = [plain(learner, values, masks, 1).loss for learner in (shared, apart)]
    torch.testing.assert_close(*losses)
    found, both = gradients(shared), gradients(apart)
    for name in (n for n in found if ".a." in n):
        torch.testing.assert_close(found[name], both[name] + both[name.replace(".a.", ".b.")])


def test_both_towers_are_encoded_as_one_batch():
    values, masks = records(["a", "b"])
    learner = learner_of(CLIP(dim=4), ["a", "b"], SHARED)
    plain(learner, values, masks, 1)
    (seen,) = learner.encoders["a"].seen
    assert len(seen) == int(masks["a"].sum() + masks["b"].sum())


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("make", [lambda: CLIP(dim=4), lambda: SimCLR(width=7, dim=4)])
def test_the_gradient_cache_has_the_gradient_of_the_whole_batch(make, k):
    values, masks = records(["a", "b"])
    learner = learner_of(make(), ["a", "b"], SHARED)
    twin = copy.deepcopy(learner)
    plain(learner, values, masks, 1)
    cached(twin, values, masks, 1, k)
    assert alike(gradients(learner), gradients(twin), 1e-10)


def test_some_of_three_modalities_share():
    values, masks = records(["a", "b", "c"], missing=0.4)
    sharing = {"a": "a", "b": "a", "c": "c"}
    learner = learner_of(Align(dim=4), ["a", "b", "c"], sharing)
    twin = copy.deepcopy(learner)
    plain(learner, values, masks, 1)
    cached(twin, values, masks, 1, 2)
    assert alike(gradients(learner), gradients(twin), 1e-10)
    assert twin.encoder("b") is twin.encoder("a")


def test_two_towers_are_the_two_views_of_an_objective_of_one_modality():
    plan = plan_of(objective="simclr")
    plan.modalities["a"].fit(["1 2 3 4 5 6 7 8"])
    values = {name: toys.VectorBatch(torch.randn(6, 8)) for name in ("a", "b")}
    batch = RecordBatch(list("012345"), values, {"a": None, "b": None})
    views = make_views(batch, plan.generators, torch.Generator().manual_seed(0))
    learner = plan.learner()
    asked = learner._asked(views)
    assert [view.modality for view in asked] == ["a", "b"]
    assert learner(views).loss.detach().isfinite()


def test_a_teacher_copies_a_shared_encoder_once():
    learner = learner_of(BYOL(width=8, dim=4), ["a", "b"], SHARED)
    teacher = learner.objective.teacher
    assert len(list(teacher.encoders)) == 1
    values, masks = records(["a", "b"])
    plain(learner, values, masks, 1)
    assert all(p.grad is None for p in teacher.parameters())
