import math

import pytest
import torch

from sensorium.losses.contrastive import clip, info_nce
from tests.core.losses.references import cosine


def pairs(n=7, d=5, dtype=torch.float64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=rng, dtype=torch.float64).to(dtype) for _ in range(2)]


def reference(x, y, temperature):
    """Gao et al. 2021, equation 1."""
    total = 0.0
    for i in range(len(x)):
        scores = [float(cosine(x[i], y[j])) / temperature for j in range(len(y))]
        total += math.log(sum(math.exp(s) for s in scores)) - scores[i]
    return total / len(x)


@pytest.mark.parametrize("temperature", [0.05, 0.3, 1.0])
def test_is_the_papers_and_has_one_direction(temperature):
    x, y = pairs()
    assert math.isclose(info_nce(x, y, temperature), reference(x, y, temperature), rel_tol=1e-12)
    assert not math.isclose(info_nce(x, y, temperature), reference(y, x, temperature), rel_tol=1e-4)
    both = (info_nce(x, y, temperature) + info_nce(y, x, temperature)) / 2
    assert torch.allclose(both, clip(x, y, 1 / temperature), rtol=1e-12)


def test_gradient_is_that_of_the_value():
    x, y = (t.requires_grad_() for t in pairs(4, 3))
    assert torch.autograd.gradcheck(lambda a, b: info_nce(a, b, 0.3), (x, y))


def test_edges():
    x, y = pairs(1)
    assert info_nce(x, y, 0.05) == 0  # one record has no negative
    equal = torch.ones(6, 4, dtype=torch.float64)
    assert math.isclose(info_nce(equal, equal, 0.05), math.log(6), rel_tol=1e-12)
    assert info_nce(torch.zeros(0, 4), torch.zeros(0, 4), 0.05) == 0
    for temperature in (0.01, 1.0):
        x, y = pairs(8, 4, torch.bfloat16)
        assert info_nce(x, y, temperature).isfinite()
        assert info_nce(x, y, temperature).dtype == torch.float32
