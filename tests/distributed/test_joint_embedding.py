"""Objectives on two ranks: gradients are those of the joined batch, and queues and centers the same on both."""

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tests.distributed.ranks import on_ranks
from tests.plugins.joint_embedding import OPTIONS, TOKENS, learner_of, views_of

NAMES = [name for name in OPTIONS if name != "simclr"]
CUTS = [0, 9, 12]


def part_of(name, start, stop):
    """Views of some of twelve records; masked tokens are given, not drawn."""
    views = views_of(name, 12, dtype=torch.float64, noise=0.5)["a"]
    rows = torch.arange(start, stop)
    for number, view in enumerate(views):
        if name in TOKENS and number < 2:
            mask = torch.rand(12, 8, generator=torch.Generator().manual_seed(number)) < 0.4
            view.info["masked"] = mask[rows]
        view.batch = view.batch.select(rows)
        view.keys = {name: ids[rows] for name, ids in view.keys.items()}
    return {"a": views}


def results(rank, world, name, start, stop):
    """Loss, gradients of every weight, and what the objective remembers, after one forward and backward."""
    learner = learner_of(name, **({"koleo": 0.5} if name == "dinov2" else {})).double()
    for module in learner.modules():  # batch norm sees a rank's own rows: not what is tested here
        if isinstance(module, nn.BatchNorm1d):
            module.eval()
    learner.objective.after_step(0.5)  # past the share of the training in which prototypes are frozen
    model = DistributedDataParallel(learner) if world > 1 else learner
    loss = model(part_of(name, start, stop)).loss
    loss.backward()
    gradients = {n: p.grad for n, p in learner.named_parameters() if p.requires_grad}
    return {"loss": loss.detach()}, gradients, dict(learner.objective.named_buffers())


def one_rank(rank, world):
    return {name: results(rank, world, name, CUTS[rank], CUTS[rank + 1]) for name in NAMES}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_ranks(2, one_rank, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_are_one_process_with_the_joined_batch(name, ranks):
    loss, gradients, memory = results(0, 1, name, 0, 12)
    first, second = (rank[name] for rank in ranks)
    torch.testing.assert_close((first[0]["loss"] + second[0]["loss"]) / 2, loss["loss"], rtol=1e-8, atol=1e-10)
    assert any(g.abs().sum() > 0 for g in gradients.values())
    for found in (first, second):
        for key, whole in gradients.items():
            torch.testing.assert_close(found[1][key], whole, rtol=1e-5, atol=1e-9, msg=lambda m, k=key: f"{k}: {m}")
        for key, whole in memory.items():
            torch.testing.assert_close(found[2][key], whole, rtol=1e-8, atol=1e-10, msg=lambda m, k=key: f"{k}: {m}")
