"""Gram anchoring on ranks, under DDP and FSDP: across its start and a refresh they train as one process."""

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from sensorium.models.learner import Learner
from sensorium.plugins.distillation.gram_anchoring import GramOptions
from sensorium.seeding import seed_globals
from sensorium.training.fabric import shard, without_broadcast
from tests.distributed.ranks import on_ranks
from tests.plugins.joint_embedding import OPTIONS, objective_class, views_of
from tests.plugins.toy_tokens import StepEncoder

ROWS, STEPS = 12, 6
CUTS = {"ddp": (0, 9, ROWS), "empty": (0, ROWS, ROWS), "fsdp": (0, 5, ROWS), "alone": (0, ROWS)}
"""Whose rows the ranks have; the second of "empty" has none."""
GRAM = GramOptions(start=0.2, refresh=0.4, weight=5.0)


class BlockEncoder(StepEncoder):
    """Its tokens pass residual blocks, which FSDP shards one by one."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 12)) for _ in range(2))

    def encode_tokens(self, tokens, keep=None):
        features = super().encode_tokens(tokens, keep)
        for block in self.blocks:
            features.tokens = features.tokens + block(features.tokens)
        features.pooled = self.mean(features.tokens, features.mask)
        return features


def part_of(step, rows):
    """Return the views of some of the records of a step; masked tokens are given, not drawn."""
    views = views_of("dinov2", ROWS, step, dtype=torch.float64, noise=0.5)["a"]
    for number, view in enumerate(views):
        if number < 2:
            mask = torch.rand(ROWS, 8, generator=torch.Generator().manual_seed(number)) < 0.4
            view.info["masked"] = mask[rows]
        view.batch = view.batch.select(rows)
        view.keys = {name: ids[rows] for name, ids in view.keys.items()}
    return {"a": views}


def whole(x):
    return x.full_tensor() if isinstance(x, DTensor) else x


def trained(rank, world, kind):
    """Return losses of the Gram teacher, gradients and the final state of a short training."""
    seed_globals("gram on ranks")
    learner = Learner({"a": BlockEncoder()}, objective_class("dinov2")(**OPTIONS["dinov2"], gram=GRAM)).double().train()
    for module in learner.modules():  # batch norm sees a rank's own rows: not what is tested here
        if isinstance(module, nn.BatchNorm1d):
            module.train = lambda mode=True, module=module: module
            module.training = False
    model = learner
    if kind == "fsdp":
        shard(learner, init_device_mesh("cpu", (world,), mesh_dim_names=("data_parallel",)), least=64)
    elif world > 1:
        model = DistributedDataParallel(learner, **without_broadcast())
    optimizer = torch.optim.SGD([p for p in learner.parameters() if p.requires_grad], lr=0.05)
    rows, found = torch.arange(CUTS[kind][rank], CUTS[kind][rank + 1]), {}
    for step in range(STEPS):
        outcome = model(part_of(step, rows))
        optimizer.zero_grad()
        outcome.loss.backward()
        found |= {f"{step} {n}": whole(p.grad).clone() for n, p in learner.named_parameters() if p.grad is not None}
        found[f"share {step}"] = outcome.logs.get("gram_loss", torch.zeros(()))
        optimizer.step()
        learner.objective.after_step((step + 1) / STEPS)
    return found | {f"after {n}": whole(x).detach().clone() for n, x in learner.state_dict().items()}


def one_rank(rank, world):
    return {kind: trained(rank, world, kind) for kind in ("ddp", "empty", "fsdp")}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_ranks(2, one_rank, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("kind", ["ddp", "empty", "fsdp"])
def test_ranks_take_one_gram_teacher_and_train_as_one_process(kind, ranks):
    expected = trained(0, 1, "alone")
    assert [float(expected[f"share {step}"]) > 0 for step in range(STEPS)] == [False, False, *[True] * 4]
    assert expected["after objective.anchoring.taken"] == 3
    first, second = (rank[kind] for rank in ranks)
    assert set(first) == set(second) == set(expected)
    for name, value in expected.items():
        mine = (first[name] + second[name]) / 2 if name.startswith("share") else first[name]
        torch.testing.assert_close(mine, value, rtol=1e-5, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")
        assert name.startswith("share") or torch.equal(first[name], second[name]), name
