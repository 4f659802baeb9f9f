import math

import pytest
import torch

from sensorium.losses.quantized import code_perplexity, diversity, masked_contrastive

B, M, K, D, V = 3, 5, 4, 6, 3


def problem(seed=0):
    """Masked tokens of three records, one of which has a single one; codes of two groups, so that some are the same."""
    rng = torch.Generator().manual_seed(seed)
    predictions = torch.randn(B, M, D, generator=rng, dtype=torch.float64)
    codes = torch.randint(2, (B, M, 2), generator=rng)
    book = torch.randn(2, 2, D // 2, generator=rng, dtype=torch.float64)
    targets = torch.cat([book[g][codes[..., g]] for g in range(2)], dim=-1)
    mask = torch.arange(M) < torch.tensor([M, 3, 0])[:, None]
    distractors = torch.stack([torch.randint(max(int(n), 1), (M, K), generator=rng) for n in mask.sum(1)])
    return predictions, targets, codes, distractors, mask


def cosine(a, b):
    return (a * b).sum() / (a.norm() * b.norm())


def reference(predictions, targets, codes, distractors, mask, temperature):
    """Baevski et al. 2020, equation 3; a distractor of the target's own codes is left out, as in the authors' code."""
    each = []
    for b in range(len(mask)):
        for t in range(mask.shape[1]):
            if not mask[b, t]:
                continue
            own = cosine(predictions[b, t], targets[b, t]) / temperature
            below = own.exp()
            for k in distractors[b, t].tolist():
                if codes[b, k].tolist() != codes[b, t].tolist():
                    below = below + (cosine(predictions[b, t], targets[b, k]) / temperature).exp()
            each.append(below.log() - own)
    return torch.stack(each).mean()


def used(probabilities):
    """exp of the entropy of the mean use, summed over groups."""
    total = 0.0
    for g in range(probabilities.shape[1]):
        mean = probabilities[:, g].mean(0)
        total += math.exp(-sum(float(p) * math.log(p) for p in mean if p > 0))
    return total


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_contrast_is_the_papers(temperature):
    found = masked_contrastive(*problem(), temperature)
    assert found.dtype == torch.float64
    assert math.isclose(found, reference(*problem(), temperature), rel_tol=1e-12)


def test_mutants_of_the_contrast_are_caught():
    """Mutants: padding counted, equal codes kept as negatives, records weighted equally, a wrong sign."""
    predictions, targets, codes, distractors, mask = problem()
    right = reference(*problem(), 0.1)
    apart = torch.arange(B * M).view(B, M, 1)
    rows = [reference(*(x[i : i + 1] for x in problem()), 0.1) for i in range(2)]
    for wrong in (
        masked_contrastive(predictions, targets, codes, distractors, torch.ones_like(mask), 0.1),
        masked_contrastive(predictions, targets, apart, distractors, mask, 0.1),
        sum(rows) / 2,
        masked_contrastive(-predictions, targets, codes, distractors, mask, 0.1),
        right * mask.sum() / mask.numel(),
    ):
        assert not math.isclose(wrong, right, rel_tol=1e-3)


def test_gradient_of_the_contrast_stays_off_filling():
    predictions, targets, codes, distractors, mask = problem()
    predictions, targets = predictions.requires_grad_(), targets.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, y: masked_contrastive(x, y, codes, distractors, mask, 0.3), (predictions, targets)
    )
    masked_contrastive(predictions, targets, codes, distractors, mask, 0.3).backward()
    assert predictions.grad[~mask].eq(0).all()
    assert targets.grad[~mask].eq(0).all()


def test_scale_does_not_matter():
    predictions, targets, *rest = problem()
    one, other = (
        masked_contrastive(predictions, targets, *rest, 0.1),
        masked_contrastive(9 * predictions, targets / 7, *rest, 0.1),
    )
    assert math.isclose(one, other, rel_tol=1e-12)


@pytest.mark.parametrize("temperature", [0.01, 1.0])
def test_degenerate_tokens_are_finite(temperature):
    """No token, zero vectors, and nothing but tokens of one code, whose loss is zero."""
    predictions, targets, codes, distractors, mask = problem()
    for x, y, c, m in (
        (predictions, targets, codes, mask & False),
        (0 * predictions, 0 * targets, codes, mask),
        (predictions, targets[:1, :1].expand_as(targets), torch.zeros_like(codes), mask),
    ):
        x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
        loss = masked_contrastive(x, y, c, distractors, m, temperature)
        loss.backward()
        assert loss.isfinite()
        assert x.grad.isfinite().all()
        assert y.grad.isfinite().all()
        assert loss == 0 or (x == 0).all()


def test_half_precision_is_computed_in_fp32():
    predictions, targets, *rest = problem()
    predictions, targets = predictions.to(torch.bfloat16), targets.to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = masked_contrastive(predictions, targets, *rest, 0.1)
    assert found.dtype == torch.float32
    assert math.isclose(found, reference(predictions.double(), targets.double(), *rest, 0.1), rel_tol=1e-5)


def test_diversity_is_the_papers():
    probabilities = (2 * torch.randn(7, 2, V, dtype=torch.float64)).softmax(-1)
    assert math.isclose(diversity(probabilities), (2 * V - used(probabilities)) / (2 * V), rel_tol=1e-9)
    even = torch.eye(V, dtype=torch.float64)[:, None].expand(-1, 2, -1)
    assert abs(float(diversity(even))) < 1e-12
    assert math.isclose(diversity(even[:1]), 1 - 1 / V, rel_tol=1e-9)
    assert diversity(even[:0]) == 0


def test_mutants_of_the_diversity_are_caught():
    """The mean of entropies is not the entropy of the mean, and perplexities are added, not multiplied."""
    probabilities = (3 * torch.randn(9, 2, V, dtype=torch.float64)).softmax(-1)
    right = float(diversity(probabilities))
    each = sum(used(probabilities[i : i + 1]) for i in range(9)) / 9
    product = math.prod(used(probabilities[:, g : g + 1]) for g in range(2))
    for wrong in (1 - each / (2 * V), 1 - product / V**2, -right):
        assert not math.isclose(right, wrong, rel_tol=1e-2)


def test_gradient_of_the_diversity():
    scores = torch.randn(4, 2, V, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: diversity(x.softmax(-1)), scores)
    certain = torch.eye(V)[:1, None].expand(1, 2, V).clone().requires_grad_()
    diversity(certain).backward()  # unused codes have a logarithm of zero
    assert certain.grad.isfinite().all()


def test_code_perplexity_counts_codes_in_use():
    codes = torch.tensor([[0, 0], [1, 0], [2, 0], [3, 0]])
    assert torch.allclose(code_perplexity(codes, 5), torch.tensor((4 + 1) / 2))
    assert code_perplexity(codes[:0], 5) == 1
