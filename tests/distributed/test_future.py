"""Ranks have different rows; value and gradient are still those of the joined batch."""

import torch

from sensorium.losses import future_info_nce
from tests.distributed.ranks import on_ranks

SIZES = [[3, 2], [1, 4], [5, 0]]


def problem():
    rng = torch.Generator().manual_seed(0)
    predictions, futures = (torch.randn(5, 3, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    return predictions, futures, torch.arange(3) < torch.tensor([3, 1, 2, 0, 3])[:, None]


def loss_of(predictions, futures, mask):
    predictions, futures = predictions.clone().requires_grad_(), futures.clone().requires_grad_()
    loss = future_info_nce(predictions, futures, mask)
    loss.backward()
    return loss.detach(), predictions.grad, futures.grad


def one_rank(rank, world):
    return [loss_of(*(t.split(sizes)[rank] for t in problem())) for sizes in SIZES]


def test_ranks_agree_with_one_process(tmp_path):
    loss, *gradients = loss_of(*problem())
    for sizes, *found in zip(SIZES, *on_ranks(2, one_rank, tmp_path), strict=True):
        assert torch.allclose(sum(f[0] for f in found) / 2, loss, rtol=1e-12), sizes
        for side, whole in enumerate(gradients, 1):
            joined = torch.cat([f[side] for f in found])
            assert torch.allclose(joined / 2, whole, rtol=1e-8, atol=1e-12), sizes
