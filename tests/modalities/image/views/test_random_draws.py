"""Random draws of augmentation parameters."""

import torch

from sensorium.modalities.image.views.random_draws import bernoulli, permutations, uniform


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_draws_have_their_distributions():
    assert abs(bernoulli(10000, 0.3, rng()).float().mean() - 0.3) < 0.02
    assert not bernoulli(100, 0.0, rng()).any()
    assert bernoulli(100, 1.0, rng()).all()
    numbers = uniform(1000, -2, 5, rng())
    assert -2 <= numbers.min() < -1.9
    assert 4.9 < numbers.max() < 5
    orders = permutations(500, 4, rng())
    assert (orders.sort(1).values == torch.arange(4)).all()
    assert len(orders.unique(dim=0)) == 24
