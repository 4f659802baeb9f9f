"""Two ranks with half the batch each give the gradient of one process with the whole batch, temperature included."""

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from sensorium.models.learner import Learner
from sensorium.models.plan import make_plan
from sensorium.presence import presence
from sensorium.recipe import read_recipe
from sensorium.types import RecordBatch, View
from tests import toys
from tests.distributed.ranks import on_ranks

RECIPES = {
    "clip": toys.pair_recipe(),
    "simclr": toys.recipe(objective={"name": "simclr", "width": 16, "dim": 8}),
}


def learner_of(name: str) -> Learner:
    extensions = toys.extensions()
    plan = make_plan(read_recipe(RECIPES[name], extensions.registry), extensions)
    learner = plan.learner().double()
    for module in learner.modules():  # batch norm sees a rank's own rows: not what is tested here
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.Dropout):
            module.eval()
    return learner


def views_of(name: str, rows: slice):
    rng = torch.Generator().manual_seed(0)
    first, second = (torch.randn(12, 8, generator=rng, dtype=torch.float64) for _ in range(2))
    ids = [str(i) for i in range(12)]
    has_b = torch.arange(12) % 4 != 1  # some records lack b
    if name == "simclr":
        return {"a": [View(toys.VectorBatch(t[rows]), modality="a") for t in (first, second)]}
    records = RecordBatch(ids[rows], {}, {"a": None, "b": presence(has_b[rows])})
    values = {"a": first[rows], "b": second[rows][has_b[rows]]}
    return {n: [View(toys.VectorBatch(values[n]), modality=n, present=records.present[n])] for n in ("a", "b")}


def gradients(rank: int, world: int, name: str, cuts: list[int]):
    model = DistributedDataParallel(learner_of(name)) if world > 1 else learner_of(name)
    outcome = model(views_of(name, slice(cuts[rank], cuts[rank + 1])))
    outcome.loss.backward()
    found = model.module if world > 1 else model
    return {n: p.grad for n, p in found.named_parameters() if p.grad is not None} | {"loss": outcome.loss.detach()}


@pytest.mark.parametrize("name", ["clip", "simclr"])
@pytest.mark.parametrize("cuts", [[0, 6, 12], [0, 9, 12]])
def test_the_gradient_is_that_of_the_joined_batch(name, cuts, tmp_path):
    first, second = on_ranks(2, gradients, tmp_path, name, cuts)
    whole = gradients(0, 1, name, [0, 12])
    assert set(first) == set(whole)
    assert ("objective.log_scale" in whole) == (name == "clip")
    torch.testing.assert_close((first.pop("loss") + second.pop("loss")) / 2, whole.pop("loss"), rtol=1e-8, atol=0)
    for key, gradient in whole.items():
        torch.testing.assert_close(first[key], gradient, rtol=1e-5, atol=1e-12, msg=lambda m, k=key: f"{k}: {m}")


def absent(rank: int, world: int):
    """Rank 1's records lack b altogether."""
    model = DistributedDataParallel(learner_of("clip"))
    views = views_of("clip", slice(0, 6))
    if rank == 1:
        nobody = torch.zeros(6, dtype=torch.bool)
        views["b"] = [View(toys.VectorBatch(views["b"][0].batch.values[:0]), modality="b", present=nobody.numpy())]
    model(views).loss.backward()
    return {n: p.grad for n, p in model.module.named_parameters()}


def test_a_modality_absent_on_a_rank_causes_no_deadlock(tmp_path):
    first, second = on_ranks(2, absent, tmp_path)
    for key, gradient in gradients(0, 1, "clip", [0, 6]).items():
        if key != "loss":
            torch.testing.assert_close(first[key], gradient, rtol=1e-5, atol=1e-12)
            torch.testing.assert_close(second[key], gradient, rtol=1e-5, atol=1e-12)
