"""On several ranks with different data, value and gradient are those of one process on the joined batch."""

import pytest
import torch

from sensorium import losses
from tests.distributed.ranks import on_ranks


def rows(sizes, seed=0):
    rng = torch.Generator().manual_seed(seed)
    n = sum(sizes)
    return [torch.randn(n, 6, generator=rng, dtype=torch.float64) for _ in range(2)]


def loss_of(name, x, y, knob):
    return losses.clip(x, y, knob) if name == "clip" else losses.nt_xent(x, y, knob)


def one_rank(rank, world, name, sizes):
    x, y = (t.split(sizes)[rank].requires_grad_() for t in rows(sizes))
    knob = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    loss = loss_of(name, x, y, knob)
    loss.backward()
    return {"loss": loss.detach(), "x": x.grad, "y": y.grad, "knob": knob.grad}


@pytest.mark.parametrize("name", ["clip", "nt_xent"])
@pytest.mark.parametrize("sizes", [(4, 4), (5, 2), (3, 0), (3, 1, 2, 4)])
def test_ranks_agree_with_one_process(name, sizes, tmp_path):
    found = on_ranks(len(sizes), one_rank, tmp_path, name, list(sizes))
    x, y = (t.requires_grad_() for t in rows(sizes))
    knob = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    loss = loss_of(name, x, y, knob)
    loss.backward()
    world = len(sizes)
    # DDP takes the mean over ranks: each rank's rows then weigh 1/world, and so does the sum of knob gradients.
    assert torch.allclose(sum(f["loss"] for f in found) / world, loss, rtol=1e-10)
    for side, whole in (("x", x), ("y", y)):
        assert torch.allclose(torch.cat([f[side] for f in found]) / world, whole.grad, rtol=1e-8, atol=1e-12)
    assert torch.allclose(sum(f["knob"] for f in found) / world, knob.grad, rtol=1e-10)
