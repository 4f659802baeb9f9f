import math

import pytest
import torch

from sensorium.losses.tokens import class_weights, perplexity, token_cross_entropy, token_nats


def problem(b=3, t=5, v=7, seed=0):
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(b, t, v, generator=rng, dtype=torch.float64) * 3
    targets = torch.randint(v, (b, t), generator=rng)
    mask = torch.rand(b, t, generator=rng) < 0.6
    return logits, targets, mask


def reference(logits, targets, mask):
    total, count = 0.0, 0
    for b in range(logits.shape[0]):
        for t in range(logits.shape[1]):
            if mask[b, t]:
                scores = [float(s) for s in logits[b, t]]
                total += math.log(sum(math.exp(s) for s in scores)) - scores[int(targets[b, t])]
                count += 1
    return total / count


def test_is_the_mean_over_counted_tokens():
    logits, targets, mask = problem()
    assert math.isclose(token_cross_entropy(logits, targets, mask), reference(logits, targets, mask), rel_tol=1e-12)
    everything = torch.ones_like(mask)
    assert math.isclose(token_cross_entropy(logits, targets), reference(logits, targets, everything), rel_tol=1e-12)
    # A mean of each row's mean is another number: rows of few tokens would have more weight.
    rows = [reference(logits[i : i + 1], targets[i : i + 1], mask[i : i + 1]) for i in range(3)]
    assert not math.isclose(sum(rows) / 3, reference(logits, targets, mask), rel_tol=1e-3)


def test_gradient_is_that_of_the_value():
    logits, targets, mask = problem(2, 3, 4)
    assert torch.autograd.gradcheck(lambda x: token_cross_entropy(x, targets, mask), logits.requires_grad_())
    token_cross_entropy(logits, targets, mask).backward()
    assert logits.grad[~mask].eq(0).all()


def test_no_counted_token_is_zero_with_zero_gradient():
    logits, targets, mask = problem()
    loss = token_cross_entropy(logits.requires_grad_(), targets, torch.zeros_like(mask))
    loss.backward()
    assert loss == 0
    assert logits.grad.eq(0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_fp32(dtype):
    logits, targets, mask = problem(8, 16, 50)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = token_cross_entropy(logits.to(dtype), targets, mask)
    assert found.dtype == torch.float32
    rounded = reference(logits.to(dtype).double(), targets, mask)
    assert math.isclose(found, rounded, rel_tol=1e-5)


def test_perplexity_of_chance_is_the_number_of_classes():
    loss = token_cross_entropy(torch.zeros(2, 3, 11, requires_grad=True), torch.zeros(2, 3, dtype=torch.long))
    assert math.isclose(perplexity(loss), 11, rel_tol=1e-5)
    assert not perplexity(loss).requires_grad


def test_class_weights_are_the_papers():
    targets = torch.tensor([[0, 0, 0, 1], [2, 0, -100, -100]])
    found = class_weights(targets, 4, 0.5)
    raw = [1 / (0.5 * share + 0.5 / 4) for share in (4 / 6, 1 / 6, 1 / 6, 0.0)]
    level = sum(share * w for share, w in zip((4 / 6, 1 / 6, 1 / 6, 0.0), raw, strict=True))
    assert torch.allclose(found, torch.tensor([w / level for w in raw]))
    valid = targets[targets >= 0]
    assert math.isclose(found[valid].mean(), 1.0, rel_tol=1e-6)
    assert not torch.allclose(found, found.flip(0))  # the mutant: common classes weighted up


def test_class_weights_at_their_ends():
    targets = torch.tensor([0, 0, 0, 1])
    assert torch.allclose(class_weights(targets, 2, 0.0), torch.ones(2))
    whole = class_weights(targets, 2, 1.0)
    assert math.isclose(whole[0] * 3, whole[1], rel_tol=1e-6)
    assert class_weights(torch.full((3,), -100), 2, 0.5).isfinite().all()
    assert class_weights(targets, 3, 1.0).isfinite().all()


def test_weights_multiply_each_tokens_cost():
    logits, targets = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, -100])
    weight = torch.tensor([1.0, 2.0, 0.0])
    nats = token_nats(logits, targets)
    wanted = sum(float(weight[c]) * float(n) for c, n in zip(targets[:5], nats[:5], strict=True)) / 5
    assert math.isclose(token_cross_entropy(logits, targets, targets >= 0, weight), wanted, rel_tol=1e-6)
