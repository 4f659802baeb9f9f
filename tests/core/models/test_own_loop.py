"""A learner in a plain loop: views without a modality's name, its errors, its state, caching."""

import copy

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from sensorium import GradientCache, Learner, NegativeOptions, View, batch_norm
from sensorium.errors import RecipeError, SensoriumError
from sensorium.plugins.contrastive.moco import MoCo
from sensorium.plugins.contrastive.simclr import SimCLR
from sensorium.plugins.contrastive.supervised import SupervisedContrastive
from sensorium.plugins.crossmodal.clip import CLIP
from sensorium.plugins.crossmodal.fastclip import FastCLIP
from sensorium.plugins.masked.mae import MAE
from sensorium.plugins.redundancy.swav import SwAV
from tests.core.training.test_gradient_cache import WIDTH, Net, gradients
from tests.distributed.ranks import on_ranks
from tests.toys import VectorBatch


def views(rows, count=2, seed=0, dtype=torch.float32):
    rng = torch.Generator().manual_seed(seed)
    return [View(VectorBatch(torch.randn(rows, WIDTH, generator=rng).to(dtype))) for _ in range(count)]


def learner(objective, *names, seed=0, dropout=0.0):
    torch.manual_seed(seed)
    return Learner({name: Net(dropout=dropout) for name in names}, objective)


def test_a_list_of_views_is_that_of_the_only_modality():
    one = learner(SimCLR(width=7, dim=4), "vector").eval()
    named = {"vector": [View(view.batch, modality="vector") for view in views(6)]}
    assert torch.equal(one(views(6)).loss, one(named).loss)


def test_errors_say_what_to_hand_in():
    one, two = learner(SimCLR(width=7, dim=4), "vector"), learner(CLIP(dim=4), "a", "b")
    with pytest.raises(RecipeError, match="has the modalities a, b: give it its views by modality"):
        two(views(6))
    with pytest.raises(RecipeError, match="no encoder for the views of 'image'; it has: vector"):
        one({"image": views(6)})
    with pytest.raises(RecipeError, match=r"SimCLR takes one encoder, but here are 2 \(a, b\)"):
        learner(SimCLR(), "a", "b")
    with pytest.raises(RecipeError, match=r"CLIP takes 2 modalities, but here are 1 \(a\)"):
        learner(CLIP(dim=4), "a")
    with pytest.raises(RecipeError, match="MAE needs tokens, but the encoder of 'a' is no TokenEncoder: Net"):
        learner(MAE(), "a")


def test_an_objective_that_recognizes_records_says_which_key_it_misses():
    one = learner(SupervisedContrastive(width=7, dim=4), "a")
    with pytest.raises(RecipeError, match="asks for the key 'record' of each record, and its views have no keys"):
        one(views(6))
    with pytest.raises(RecipeError, match=r"asks for the key 'record' .*transform.views\(batch, keys="):
        learner(FastCLIP(dim=4), "a", "b")({"a": views(6, 1), "b": views(6, 1)})


def test_without_keys_every_record_is_unique():
    """A queue then has no false negatives to exclude, and the loss is that of records which are all different."""
    keys = [{"record": torch.arange(6) + 6 * step} for step in range(2)]
    found = []
    for given in (keys, [{}, {}]):
        one = learner(MoCo(width=7, dim=4, queue=16, negatives=NegativeOptions(mixed=4)), "a").train()
        for step, of_step in enumerate(given):
            torch.manual_seed(step)
            loss = one([View(view.batch, keys=of_step) for view in views(6, seed=step)]).loss
            one.objective.after_step(0.5)
        found.append(loss)
    assert torch.equal(*found)


def steps(one, optimizer, numbers):
    found = []
    for number in numbers:
        loss = one(views(6, seed=number)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        one.objective.after_step((number + 1) / 8)
        found.append(loss.item())
    return found


def test_a_loop_goes_on_from_state_dicts_as_if_it_had_not_stopped():
    def fresh(seed):
        one = learner(MoCo(width=7, dim=4, queue=16), "vector", seed=seed)
        return one, torch.optim.SGD(one.parameters(), lr=0.1, momentum=0.9)

    whole = steps(*fresh(0), range(8))
    one, optimizer = fresh(0)
    first = steps(one, optimizer, range(4))
    other, its_optimizer = fresh(1)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    its_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert first + steps(other, its_optimizer, range(4, 8)) == whole


@pytest.mark.parametrize("make", [lambda: (SimCLR(width=7, dim=4), "a"), lambda: (CLIP(dim=4), "a", "b")])
def test_caching_has_the_gradient_of_the_whole_batch(make):
    one = learner(*make()).double()
    cached = copy.deepcopy(one)
    whole = {name: views(12, seed=n, dtype=torch.float64) for n, name in enumerate(one.encoders)}
    parts = [
        {n: [View(view.batch.select(torch.arange(at, at + 4))) for view in v] for n, v in whole.items()}
        for at in (0, 4, 8)
    ]
    if len(whole) == 1:
        whole, parts = whole["a"], [part["a"] for part in parts]
    loss = one(whole).loss
    loss.backward()
    assert torch.allclose(GradientCache(parts, cached).backward().loss, loss, rtol=1e-12)
    expected = gradients(one)
    assert all(torch.allclose(g, expected[name], atol=1e-12) for name, g in gradients(cached).items())


def test_both_passes_draw_alike_without_a_seed_and_steps_differ():
    torch.manual_seed(3)
    one = learner(SimCLR(width=7, dim=4), "a", dropout=0.5)
    net = one.encoders["a"]
    drawn = []
    for _ in range(2):
        net.seen.clear()
        GradientCache([views(4), views(4, seed=1)], one).backward()
        assert torch.equal(torch.cat(net.seen[:2]), torch.cat(net.seen[2:]))
        drawn.append(torch.cat(net.seen))
    assert not torch.equal(*drawn)


def test_a_loss_scale_is_that_of_all_passes():
    one = learner(SimCLR(width=7, dim=4), "a").double()
    twin = copy.deepcopy(one)
    parts = [views(4, dtype=torch.float64), views(4, seed=1, dtype=torch.float64)]
    GradientCache(parts, one, 0).backward()
    GradientCache(parts, twin, 0).backward(backward=lambda loss: (8 * loss).backward())
    assert all(torch.allclose(8 * g, gradients(twin)[name]) for name, g in gradients(one).items())


def on_rank(rank, world):
    one = learner(SimCLR(width=7, dim=4), "a").double()
    batch_norm.synchronize(one)
    module = DistributedDataParallel(one, broadcast_buffers=False)
    parts = [
        [View(v.batch.select(torch.arange(12)[rank::world][cut])) for v in views(12)] for cut in (slice(3), slice(3, 6))
    ]
    mine = [v.batch.select(torch.arange(12)[rank::world]) for v in views(12, dtype=torch.float64)]
    parts = [[View(batch.select(torch.arange(3) + at)) for batch in mine] for at in (0, 3)]
    GradientCache(parts, one, rank).backward(module)
    return gradients(one)


def test_caching_under_ddp_has_the_gradient_of_the_joined_batch(tmp_path):
    one = learner(SimCLR(width=7, dim=4), "a").double()
    one(views(12, dtype=torch.float64)).loss.backward()
    expected = gradients(one)
    for found in on_ranks(2, on_rank, tmp_path):
        assert all(torch.allclose(g, expected[name], atol=1e-12) for name, g in found.items())


def test_what_is_no_list_of_views_is_refused():
    one = learner(SimCLR(width=7, dim=4), "vector")
    for given, kind in [
        (torch.zeros(6, WIDTH), "Tensor"),
        ([torch.zeros(6, WIDTH)] * 2, "list of Tensor"),
        ([View(torch.zeros(6, WIDTH))] * 2, "list of Tensor"),
        (views(6)[0], "View"),
    ]:
        with pytest.raises(RecipeError, match=f"a list of views of 'vector', but was given {kind}: hand in transform"):
            one(given)


def test_the_number_of_views_is_that_of_the_objective():
    with pytest.raises(RecipeError, match=r"SimCLR takes 2 view\(s\) of each record, but was given 3"):
        learner(SimCLR(width=7, dim=4), "vector")(views(6, 3))
    with pytest.raises(RecipeError, match=r"SwAV takes 2 or more view\(s\) of each record, but was given 1"):
        learner(SwAV(width=7, dim=4, prototypes=8), "vector")(views(6, 1))


@pytest.mark.parametrize("given", [{"keys": {"record": torch.arange(4)}}, {"target": torch.arange(4)}])
def test_what_belongs_to_rows_has_one_value_for_each(given):
    name = next(iter(next(iter(given.values())))) if "target" not in given else "target"
    with pytest.raises(RecipeError, match=f"A view of 'vector' has 6 rows, but 4 values of '{name}'"):
        learner(MoCo(width=7, dim=4, queue=16), "vector")([View(view.batch, **given) for view in views(6)])


def test_a_learner_is_made_of_encoders_and_a_new_objective():
    objective = SimCLR(width=7, dim=4)
    first = learner(objective, "vector")
    weights = copy.deepcopy(first.state_dict())
    with pytest.raises(RecipeError, match="SimCLR is built already, for another learner: hand in a new one"):
        learner(objective, "vector", seed=1)
    assert all(torch.equal(first.state_dict()[name], weight) for name, weight in weights.items())
    with pytest.raises(RecipeError, match=r"encoder of 'vector' is an object of type Linear: hand in .*ModuleEncoder"):
        Learner({"vector": torch.nn.Linear(WIDTH, 5)}, SimCLR(width=7, dim=4))
    with pytest.raises(RecipeError, match="by modality, but was given an object of type Net"):
        Learner(Net(), SimCLR(width=7, dim=4))
    with pytest.raises(RecipeError, match="objective is the class SimCLR: hand in an instance"):
        Learner({"vector": Net()}, SimCLR)


def test_a_cache_takes_the_views_of_each_part():
    one = learner(SimCLR(width=7, dim=4), "vector")
    with pytest.raises(SensoriumError, match="given a list without a part"):
        GradientCache([], one)
    for given in (views(6), {"vector": views(6)}):
        with pytest.raises(SensoriumError, match="given the views of one: hand in"):
            GradientCache(given, one)
    with pytest.raises(RecipeError, match=r"SimCLR takes 2 view\(s\) of each record, but was given 1"):
        GradientCache([views(6, 1), views(6, 1)], one).backward()
