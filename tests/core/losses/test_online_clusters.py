"""Targets and losses of clusters of tokens: positionwise Sinkhorn-Knopp, soft cross-entropy, clusters in use."""

import math

import pytest
import torch

from sensorium import losses

B, T, K = 4, 5, 3
MASK = torch.arange(T) < torch.tensor([5, 5, 3, 1])[:, None]


def scores(seed=0, *shape):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (B, T, K)), generator=rng, dtype=torch.float64)


def bins_of(mask, bins):
    """Return, for each bin of relative positions, the (record, token) pairs in it."""
    members = [[] for _ in range(bins)]
    for b in range(len(mask)):
        places = [t for t in range(mask.shape[1]) if mask[b, t]]
        for i, t in enumerate(places):
            members[i * bins // len(places)].append((b, t))
    return members


def reference(given, mask, bins, temperature, iterations):
    """By plain loops: prototypes, then rows, are normalized in turn, in each bin apart."""
    targets = torch.zeros_like(given)
    for members in bins_of(mask, bins):
        rows = [[math.exp(float(s) / temperature) for s in given[b, t]] for b, t in members]
        for _ in range(iterations):
            columns = [sum(row[k] for row in rows) for k in range(given.shape[2])]
            rows = [[row[k] / columns[k] for k in range(given.shape[2])] for row in rows]
            rows = [[x / sum(row) for x in row] for row in rows]
        for (b, t), row in zip(members, rows, strict=True):
            targets[b, t] = torch.tensor(row, dtype=given.dtype)
    return targets


@pytest.mark.parametrize("bins", [1, 2, 3, 5, 9])
def test_each_bin_of_positions_is_balanced_apart(bins):
    found = losses.positionwise_sinkhorn(scores(), MASK, bins, 0.2, 3)
    torch.testing.assert_close(found, reference(scores(), MASK, bins, 0.2, 3), rtol=1e-10, atol=1e-14)


def test_one_bin_without_padding_is_sinkhorn_knopp():
    found = losses.positionwise_sinkhorn(scores(), MASK | True, 1, 0.3)
    torch.testing.assert_close(found.flatten(0, 1), losses.sinkhorn_knopp(scores().flatten(0, 1), 0.3))


def test_as_many_bins_as_tokens_give_each_position_its_own_balance():
    found = losses.positionwise_sinkhorn(scores(), MASK | True, T, 0.3, 60)
    for t in range(T):
        torch.testing.assert_close(found[:, t], losses.sinkhorn_knopp(scores()[:, t], 0.3, 60))
        torch.testing.assert_close(found[:, t].sum(0), torch.full((K,), B / K, dtype=torch.float64), rtol=1e-3, atol=0)


def test_clusters_cannot_stand_for_positions():
    """Where scores are those of positions alone, every target is uniform; balanced over all tokens, they are not."""
    of_positions = scores(1, 1, T, K).expand(B, -1, -1)
    everything = torch.ones(B, T, dtype=torch.bool)
    apart = losses.positionwise_sinkhorn(of_positions, everything, T, 0.05)
    torch.testing.assert_close(apart, torch.full_like(apart, 1 / K))
    assert losses.positionwise_sinkhorn(of_positions, everything, 1, 0.05).amax(-1).mean() > 0.7


def test_mutants_of_the_sinkhorn_are_caught():
    """Mutants: padding counted, bins of absolute positions, one iteration fewer, another temperature, rows first."""
    right = reference(scores(), MASK, 2, 0.2, 3)
    absolute = torch.where(torch.arange(T) * 2 // T == 0, MASK, False)
    first_half = reference(scores(), absolute, 1, 0.2, 3)
    rows_first = losses.positionwise_sinkhorn(scores().transpose(0, 2), MASK.new_ones(K, T), T, 0.2).transpose(0, 2)
    for wrong in (
        losses.positionwise_sinkhorn(scores(), MASK | True, 2, 0.2, 3),
        first_half,
        losses.positionwise_sinkhorn(scores(), MASK, 2, 0.2, 2),
        losses.positionwise_sinkhorn(scores(), MASK, 2, 0.21, 3),
        rows_first,
    ):
        assert not torch.allclose(right[MASK], wrong[MASK], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("temperature", [1e-3, 0.06, 10.0])
def test_targets_are_distributions_whatever_the_scores(temperature):
    for given in (scores(), 1e3 * scores(), torch.zeros(B, T, K), scores()[:1], scores()[:0]):
        found = losses.positionwise_sinkhorn(given.float(), MASK[: len(given)], 4, temperature)
        valid = found[MASK[: len(given)]]
        assert found.isfinite().all()
        assert not found[~MASK[: len(given)]].any()
        torch.testing.assert_close(valid.sum(-1), torch.ones(len(valid)))


def test_what_stands_in_padding_changes_nothing():
    padded = torch.where(MASK[..., None], scores(), torch.nan)
    found = losses.positionwise_sinkhorn(padded, MASK, 3, 0.2)
    torch.testing.assert_close(found, losses.positionwise_sinkhorn(scores(), MASK, 3, 0.2))


def test_equal_use_needs_as_many_rows_as_prototypes():
    """With fewer rows at a position than prototypes targets turn uniform; with enough they are sharp."""
    mask = torch.ones(32, 4, dtype=torch.bool)
    few, enough = (losses.positionwise_sinkhorn(scores(0, 32, 4, k), mask, 4, 0.06).amax(-1).mean() for k in (512, 16))
    assert few < 0.15
    assert enough > 0.6


def soft_reference(given, targets, mask, temperature):
    each = []
    for b in range(len(mask)):
        for t in range(mask.shape[1]):
            if mask[b, t]:
                total = sum(math.exp(float(s) / temperature) for s in given[b, t])
                pairs = zip(targets[b, t], given[b, t], strict=True)
                each.append(-sum(float(p) * (float(s) / temperature - math.log(total)) for p, s in pairs))
    return sum(each) / len(each)


def test_soft_cross_entropy_gives_every_token_the_same_weight():
    targets = scores(1).softmax(-1)
    found = losses.soft_token_cross_entropy(scores(), targets, MASK, 0.12)
    right = soft_reference(scores(), targets, MASK, 0.12)
    assert math.isclose(found, right, rel_tol=1e-12)
    by_record = sum(soft_reference(scores()[b : b + 1], targets[b : b + 1], MASK[b : b + 1], 0.12) for b in range(B))
    for wrong in (
        by_record / B,
        losses.soft_token_cross_entropy(scores(), targets, MASK | True, 0.12),
        losses.soft_token_cross_entropy(scores(), targets, MASK, 0.125),
        losses.soft_token_cross_entropy(targets, scores().softmax(-1), MASK, 0.12),
        losses.soft_token_cross_entropy(scores(), targets.roll(1, 0), MASK, 0.12),
    ):
        assert not math.isclose(wrong, right, rel_tol=1e-3)


def test_hard_targets_are_those_of_token_cross_entropy():
    codes = scores(2).argmax(-1)
    hard = torch.nn.functional.one_hot(codes, K).double()
    found = losses.soft_token_cross_entropy(scores(), hard, MASK, 0.5)
    torch.testing.assert_close(found, losses.token_cross_entropy(scores() / 0.5, codes, MASK))


def test_gradient_of_the_soft_cross_entropy_is_the_students_alone():
    given, targets = scores().requires_grad_(), scores(1).softmax(-1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: losses.soft_token_cross_entropy(x, targets, MASK, 0.3), given)
    losses.soft_token_cross_entropy(given, targets, MASK, 0.3).backward()
    assert targets.grad is None
    assert given.grad[~MASK].eq(0).all()
    empty = scores().requires_grad_()
    loss = losses.soft_token_cross_entropy(empty, targets, MASK & False, 0.3)
    loss.backward()
    assert loss == 0
    assert not empty.grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_fp32(dtype):
    given, targets = (2 * scores()).to(dtype), scores(1).softmax(-1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses.soft_token_cross_entropy(given, targets, MASK, 0.01)
        assigned = losses.positionwise_sinkhorn(given, MASK, 2, 0.06)
    assert found.dtype == assigned.dtype == torch.float32
    assert math.isclose(found, soft_reference(given.double(), targets, MASK, 0.01), rel_tol=1e-5)
    torch.testing.assert_close(assigned.double(), reference(given.double(), MASK, 2, 0.06, 3), rtol=1e-4, atol=1e-6)


def test_clusters_in_use_and_how_sure_one_assignment_is():
    targets = torch.zeros(2, 2, 4)
    targets[0, 0, 0] = targets[0, 1, 1] = targets[1, 0, 2] = 1
    targets[1, 1] = 7.0  # padding
    mask = torch.tensor([[True, True], [True, False]])
    used, entropy = losses.assignment_perplexity(targets, mask)
    assert math.isclose(used, 3, rel_tol=1e-6)
    assert abs(entropy) < 1e-6
    used, entropy = losses.assignment_perplexity(torch.full((2, 2, 4), 0.25), mask)
    assert math.isclose(used, 4, rel_tol=1e-6)
    assert math.isclose(entropy, math.log(4), rel_tol=1e-6)
    assert [float(x) for x in losses.assignment_perplexity(targets, mask & False)] == [1, 0]


def test_perplexity_of_codes_counts_the_rows_that_are_asked_for():
    codes = torch.tensor([[0, 0], [1, 0], [2, 0], [3, 0]])
    rows = torch.tensor([True, True, False, False])
    assert torch.equal(losses.code_perplexity(codes, 5, rows), losses.code_perplexity(codes[:2], 5))
    assert losses.code_perplexity(codes, 5, rows & False) == 1
