"""Ranks have different rows and different lengths; value and gradient are still those of the joined batch."""

import pytest
import torch
import torch.nn.functional as F

from sensorium.losses import hierarchical_contrastive
from tests.distributed.ranks import on_ranks

LENGTHS = [6, 3, 5, 1, 2]
SIZES = {2: [[3, 2], [1, 4], [5, 0]], 4: [[1, 2, 0, 2]]}


def problem():
    rng = torch.Generator().manual_seed(0)
    z1, z2 = (torch.randn(5, 6, 3, generator=rng, dtype=torch.float64) for _ in range(2))
    return z1, z2, torch.arange(6) < torch.tensor(LENGTHS)[:, None]


def loss_of(z1, z2, mask):
    z1, z2 = z1.clone().requires_grad_(), z2.clone().requires_grad_()
    loss = hierarchical_contrastive(z1, z2, mask)
    loss.backward()
    return loss.detach(), z1.grad, z2.grad


def one_rank(rank, world):
    found = []
    for sizes in SIZES[world]:
        z1, z2, mask = (t.split(sizes)[rank] for t in problem())
        longest = max(int(mask.sum(1).max()), 1) if len(mask) else 2  # each rank pads to its own longest row
        found.append(loss_of(z1[:, :longest], z2[:, :longest], mask[:, :longest]))
    return found


@pytest.mark.parametrize("world", SIZES)
def test_ranks_agree_with_one_process(world, tmp_path):
    loss, *gradients = loss_of(*problem())
    for sizes, *found in zip(SIZES[world], *on_ranks(world, one_rank, tmp_path), strict=True):
        assert torch.allclose(sum(f[0] for f in found) / world, loss, rtol=1e-12), sizes
        for view, whole in enumerate(gradients, 1):
            joined = torch.cat([F.pad(f[view], (0, 0, 0, 6 - f[view].shape[1])) for f in found])
            assert torch.allclose(joined / world, whole, rtol=1e-8, atol=1e-12), sizes
