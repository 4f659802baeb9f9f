import math

import pytest
import torch

from sensorium import losses


def rows(n=5, t=4, d=3, dtype=torch.float64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    tokens = torch.randn(n, t, d, generator=rng, dtype=torch.float64).to(dtype)
    pooled = torch.randn(n, d, generator=rng, dtype=torch.float64).to(dtype)
    return tokens, pooled, torch.arange(t) < torch.tensor([4, 1, 3, 2, 4, 4, 4, 4])[:n, None]


def softplus(x):
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def by_loops(tokens, pooled, mask):
    """Sun et al. 2020, equation 4, as their code has it: the mean over false pairs less the mean over true ones."""
    true, false = [], []
    for i in range(len(tokens)):
        for t in range(tokens.shape[1]):
            if not mask[i, t]:
                continue
            for j in range(len(pooled)):
                score = float(tokens[i, t] @ pooled[j])
                if i == j:
                    true.append(math.log(2) - softplus(-score))
                else:
                    false.append(softplus(-score) + score - math.log(2))
    return sum(false) / len(false) - sum(true) / len(true)


def dgi_by_loops(true, false):
    """Velickovic et al. 2019, equation 1, each sum over its own count, negated."""
    sigma = [1 / (1 + math.exp(-float(s))) for s in true], [1 / (1 + math.exp(-float(s))) for s in false]
    return -sum(map(math.log, sigma[0])) / len(true) - sum(math.log(1 - s) for s in sigma[1]) / len(false)


def test_jensen_shannon_is_the_papers():
    tokens, pooled, mask = rows()
    assert math.isclose(losses.jensen_shannon(tokens, pooled, mask), by_loops(tokens, pooled, mask), rel_tol=1e-12)
    every = torch.ones_like(mask)
    assert math.isclose(losses.jensen_shannon(tokens, pooled), by_loops(tokens, pooled, every), rel_tol=1e-12)


def test_binary_discrimination_is_the_papers():
    rng = torch.Generator().manual_seed(0)
    true, false = (torch.randn(n, generator=rng, dtype=torch.float64) for n in (5, 9))
    assert math.isclose(losses.binary_discrimination(true, false), dgi_by_loops(true, false), rel_tol=1e-12)


def test_a_summary_is_the_sigmoid_of_the_mean():
    pooled = rows()[1]
    torch.testing.assert_close(losses.dgi_summary(pooled), torch.sigmoid(sum(pooled) / 5))


def test_gradients_are_those_of_the_values():
    tokens, pooled, mask = rows(3)
    tokens, pooled = tokens.requires_grad_(), pooled.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: losses.jensen_shannon(a, b, mask), (tokens, pooled))
    assert torch.autograd.gradcheck(lambda a, b: losses.binary_discrimination(a, b), (tokens[..., 0], pooled[:, 0]))
    assert torch.autograd.gradcheck(losses.dgi_summary, pooled)


def test_mutants_are_caught():
    """Mutants: both signs flipped, padding counted, positives among the negatives."""
    tokens, pooled, mask = rows()
    good, bad = tokens * 0 + 4 * pooled[:, None], tokens * 0 - 4 * pooled[:, None]
    assert losses.jensen_shannon(good, pooled, mask) < losses.jensen_shannon(bad, pooled, mask)
    assert losses.binary_discrimination(torch.tensor([3.0]), torch.tensor([-3.0])) < 0.1
    assert losses.binary_discrimination(torch.tensor([-3.0]), torch.tensor([3.0])) > 6
    filled = torch.where(mask[..., None], tokens, 1e3)
    assert losses.jensen_shannon(filled, pooled, mask) == losses.jensen_shannon(tokens, pooled, mask)
    assert losses.jensen_shannon(filled, pooled) != losses.jensen_shannon(tokens, pooled)
    scores = torch.einsum("itd,jd->itj", tokens, pooled)
    own = torch.eye(5, dtype=torch.bool)[:, None].expand_as(scores)
    wrong = losses.binary_discrimination(scores[own], scores.flatten()) - 2 * math.log(2)
    assert wrong != pytest.approx(float(losses.jensen_shannon(tokens, pooled)))


def test_padding_has_no_gradient():
    tokens, pooled, mask = rows()
    tokens.requires_grad_()
    losses.jensen_shannon(tokens, pooled, mask).backward()
    assert not tokens.grad[~mask].any()
    assert tokens.grad[mask].abs().sum(-1).all()


@pytest.mark.parametrize("kind", ["one", "none", "zero", "equal", "large"])
def test_degenerate_rows_stay_finite(kind):
    tokens, pooled, mask = rows(3, dtype=torch.float32)
    parts = {
        "one": (tokens[:1], pooled[:1], mask[:1]),
        "none": (tokens[:0], pooled[:0], mask[:0]),
        "zero": (0 * tokens, 0 * pooled, mask),
        "equal": (pooled[:1].expand(3, 4, -1), pooled[:1].expand(3, -1), mask),
        "large": (1e4 * tokens, 1e4 * pooled, mask),
    }[kind]
    parts = [part.clone().requires_grad_() for part in parts[:2]] + [parts[2]]
    loss = losses.jensen_shannon(*parts) + losses.binary_discrimination(parts[0][..., 0], parts[1][:, 0])
    loss = loss + losses.dgi_summary(parts[1]).sum()
    loss.backward()
    assert loss.isfinite()
    assert all(part.grad.isfinite().all() for part in parts[:2])


def test_half_precision_is_computed_in_fp32():
    tokens, pooled, mask = rows(8, 4, 16, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses.jensen_shannon(tokens.bfloat16(), pooled.bfloat16(), mask)
    assert found.dtype == torch.float32
    assert abs(found - losses.jensen_shannon(tokens, pooled, mask)) < 0.02
