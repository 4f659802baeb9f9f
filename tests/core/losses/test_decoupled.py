import math

import pytest
import torch

from sensorium.losses import decoupled_contrastive, nt_xent
from tests.core.losses.references import cosine


def pairs(n=7, d=5, dtype=torch.float64):
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(n, d, generator=rng, dtype=torch.float64).to(dtype) for _ in range(2)]


def reference(z1, z2, temperature):
    """Yeh et al. 2021, equation 6: neither the anchor nor its positive is in the denominator."""
    z, n, total = torch.cat([z1, z2]), len(z1), 0.0
    for i in range(2 * n):
        negatives = [float(cosine(z[i], z[k])) / temperature for k in range(2 * n) if k % n != i % n]
        total += math.log(sum(math.exp(s) for s in negatives)) - float(cosine(z[i], z[(i + n) % (2 * n)])) / temperature
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
def test_is_the_papers(temperature):
    z1, z2 = pairs()
    assert math.isclose(decoupled_contrastive(z1, z2, temperature), reference(z1, z2, temperature), rel_tol=1e-12)


def test_mutants_are_caught():
    """Mutants: the positive kept (NT-Xent), each direction's own view alone as negatives."""
    z1, z2 = pairs()
    expected = reference(z1, z2, 0.5)
    assert not math.isclose(nt_xent(z1, z2, 0.5), expected, rel_tol=1e-3)
    u1, u2 = (torch.nn.functional.normalize(z, dim=1) for z in (z1, z2))
    across = (u1 @ u2.T / 0.5).masked_fill(torch.eye(7, dtype=torch.bool), -math.inf)
    halves = (across.logsumexp(1).mean() + across.logsumexp(0).mean()) / 2 - (u1 * u2).sum(1).mean() / 0.5
    assert not math.isclose(halves, expected, rel_tol=1e-3)


def test_gradient_is_that_of_the_value():
    z1, z2 = (x.requires_grad_() for x in pairs(4, 3))
    assert torch.autograd.gradcheck(lambda a, b: decoupled_contrastive(a, b, 0.3), (z1, z2))


def test_the_pull_of_a_close_positive_does_not_fade():
    """Why it was made: NT-Xent's gradient vanishes as a pair closes among few negatives, this one's does not."""
    z1 = torch.eye(2, dtype=torch.float64)
    pulls = []
    for loss in (decoupled_contrastive, nt_xent):
        z2 = (z1 + 0.1).requires_grad_()
        loss(z1, z2, 0.1).backward()
        pulls.append(z2.grad.norm())
    assert pulls[0] > 100 * pulls[1]


@pytest.mark.parametrize("temperature", [0.01, 1.0])
@pytest.mark.parametrize("kind", ["none", "one", "two", "zero", "equal"])
def test_degenerate_rows_stay_finite(kind, temperature):
    z1, z2 = pairs(4, dtype=torch.float32)
    cut = {"none": 0, "one": 1, "two": 2}.get(kind, 4)
    z1, z2 = z1[:cut], z2[:cut]
    if kind in ("zero", "equal"):
        z1 = z2 = torch.full((4, 5), float(kind == "equal"))
    z1, z2 = z1.clone().requires_grad_(), z2.clone().requires_grad_()
    loss = decoupled_contrastive(z1, z2, temperature)
    loss.backward()
    assert loss.isfinite()
    assert z1.grad.isfinite().all()


def test_half_precision_is_computed_in_fp32():
    z1, z2 = pairs(64, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = decoupled_contrastive(z1.bfloat16(), z2.bfloat16(), 0.1)
    assert found.dtype == torch.float32
    assert math.isclose(found, decoupled_contrastive(z1, z2, 0.1), rel_tol=0.01)
