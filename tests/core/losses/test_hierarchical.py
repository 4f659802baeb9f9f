import math

import pytest
import torch
from torch import Tensor

from sensorium.losses import hierarchical_contrastive


def tokens(b=4, t=7, d=3, dtype=torch.float64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(b, t, d, generator=rng, dtype=torch.float64).to(dtype) for _ in range(2)]


def first(lengths, t):
    return torch.arange(t) < torch.tensor(lengths)[:, None]


def nats(anchor: Tensor, positive: Tensor, negatives: list[Tensor]) -> Tensor:
    scores = torch.stack([anchor @ positive, *(anchor @ negative for negative in negatives)])
    return torch.log(torch.exp(scores).sum()) - scores[0]


def reference(z1, z2, lengths=None, alpha=0.5, temporal_from=0):
    """Yue et al. 2022, eq. 1 to 3, by loops, over the valid tokens of each row."""
    lengths = [z1.shape[1]] * len(z1) if lengths is None else list(lengths)
    rows = [[z1[i, :n], z2[i, :n]] for i, n in enumerate(lengths)]
    total, scales, longest = z1.new_zeros(()), 0, z1.shape[1]
    while longest:
        instance, temporal = [], []
        for i, views in enumerate(rows):
            for v in range(2):
                for t in range(len(views[v])):
                    others = [j for j in range(len(rows)) if j != i and len(rows[j][0]) > t]
                    if others:
                        negatives = [rows[j][w][t] for j in others for w in range(2)]
                        instance.append(nats(views[v][t], views[1 - v][t], negatives))
                    steps = [s for s in range(len(views[v])) if s != t]
                    if steps:
                        negatives = [views[w][s] for s in steps for w in range(2)]
                        temporal.append(nats(views[v][t], views[1 - v][t], negatives))
        if instance:
            total = total + alpha * torch.stack(instance).mean()
        if temporal and scales >= temporal_from:
            total = total + (1 - alpha) * torch.stack(temporal).mean()
        halves = [[view[: len(view) // 2 * 2] for view in views] for views in rows]
        rows = [[torch.maximum(view[0::2], view[1::2]) for view in views] for views in halves]
        longest, scales = longest // 2, scales + 1
    return total / scales


def of_the_authors(z1, z2, alpha=0.5):
    """What the authors' code computes, written with its own slices of lower and upper triangles."""

    def both(z, n):
        sim = z @ z.transpose(1, 2)
        logits = torch.tril(sim, -1)[:, :, :-1] + torch.triu(sim, 1)[:, :, 1:]
        logits = -torch.log_softmax(logits, -1)
        i = torch.arange(n)
        return (logits[:, i, n + i - 1].mean() + logits[:, n + i, i].mean()) / 2

    loss, scales = 0.0, 0
    while z1.shape[1] > 1:
        loss = loss + alpha * both(torch.cat([z1, z2]).transpose(0, 1), len(z1))
        loss = loss + (1 - alpha) * both(torch.cat([z1, z2], 1), z1.shape[1])
        z1, z2 = (torch.nn.functional.max_pool1d(z.transpose(1, 2), 2).transpose(1, 2) for z in (z1, z2))
        scales += 1
    return (loss + alpha * both(torch.cat([z1, z2]).transpose(0, 1), len(z1))) / (scales + 1)


@pytest.mark.parametrize("t", [1, 2, 5, 8])
@pytest.mark.parametrize(("alpha", "temporal_from"), [(0.5, 0), (0.0, 0), (1.0, 0), (0.3, 1)])
def test_is_the_papers(t, alpha, temporal_from):
    z1, z2 = tokens(t=t)
    found = hierarchical_contrastive(z1, z2, alpha=alpha, temporal_from=temporal_from)
    torch.testing.assert_close(found, reference(z1, z2, None, alpha, temporal_from), rtol=1e-12, atol=1e-12)


def test_is_the_authors_code():
    z1, z2 = tokens(b=5, t=13)
    torch.testing.assert_close(hierarchical_contrastive(z1, z2), of_the_authors(z1, z2), rtol=1e-12, atol=0)


@pytest.mark.parametrize("lengths", [[7, 3, 1, 5], [7, 0, 2, 2], [7, 1, 1, 1], [0, 0, 0, 0]])
def test_rows_of_unequal_lengths(lengths):
    z1, z2 = tokens()
    mask = first(lengths, 7)
    found = hierarchical_contrastive(z1, z2, mask)
    torch.testing.assert_close(found, reference(z1, z2, lengths), rtol=1e-12, atol=1e-12)
    noise = 1e3 * ~mask[..., None]
    torch.testing.assert_close(
        hierarchical_contrastive(z1 + noise, z2 - noise, mask), found
    )  # padding is not looked at


@pytest.mark.parametrize("lengths", [[5, 5, 5], [5, 2, 0]])
def test_the_gradient_is_that_of_the_value(lengths):
    z1, z2 = (z.requires_grad_() for z in tokens(3, 5, 2))
    mask = first(lengths, 5)
    assert torch.autograd.gradcheck(lambda a, b: hierarchical_contrastive(a, b, mask), (z1, z2))
    hierarchical_contrastive(z1, z2, mask).backward()
    assert (z1.grad[~mask] == 0).all()


def test_mutants_are_caught():
    """Mutants: cosines for dot products, mean for maximum pooling, one direction, self kept."""
    z1, z2 = tokens()
    right = reference(z1, z2)
    normalize_rows = [torch.nn.functional.normalize(z, dim=-1) for z in (z1, z2)]
    assert not torch.allclose(reference(*normalize_rows), right, rtol=1e-2)
    assert not torch.allclose(reference(z1, z2, alpha=0.4), right, rtol=1e-3)
    first_scale = [z[:, :1] for z in (z1, z2)]
    z = torch.cat(first_scale)[:, 0]
    with_self = torch.nn.functional.cross_entropy(z @ z.T, (torch.arange(8) + 4) % 8)
    ours = hierarchical_contrastive(*first_scale, alpha=1.0)
    assert not torch.allclose(with_self, ours, rtol=1e-3)
    one_way = torch.nn.functional.cross_entropy(first_scale[0][:, 0] @ first_scale[1][:, 0].T, torch.arange(4))
    assert not torch.allclose(one_way, ours, rtol=1e-3)
    meant = [torch.cat([z, z.roll(1, 1)], 1) for z in (z1, z2)]
    assert not torch.allclose(hierarchical_contrastive(*meant), right, rtol=1e-3)


def test_edges():
    z1, z2 = tokens(1, 1)
    assert hierarchical_contrastive(z1, z2) == 0  # no negatives
    z1, z2 = tokens(1, 6)
    assert hierarchical_contrastive(z1, z2, alpha=1.0) == 0  # no other row
    for empty in (torch.zeros(0, 4, 3), torch.zeros(3, 0, 3)):
        empty = empty.requires_grad_()
        loss = hierarchical_contrastive(empty, empty)
        loss.backward()
        assert loss == 0
    ones = torch.ones(5, 1, 4, dtype=torch.float64)
    assert hierarchical_contrastive(ones, ones, alpha=1.0).item() == pytest.approx(math.log(9))


@pytest.mark.parametrize("size", [0.0, 1.0, 100.0])
def test_large_and_equal_tokens_stay_finite(size):
    z1, z2 = (torch.full((4, 9, 8), size).requires_grad_() for _ in range(2))
    loss = hierarchical_contrastive(z1, z2, first([9, 0, 1, 4], 9))
    loss.backward()
    assert loss.isfinite()
    assert z1.grad.isfinite().all()


def test_half_precision_is_near_and_computed_in_fp32():
    z1, z2 = tokens(8, 12, 16)
    exact = reference(z1, z2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = hierarchical_contrastive(z1.bfloat16(), z2.bfloat16())
    assert found.dtype == torch.float32
    assert abs(found - exact) < 0.02 * exact


def test_order_of_rows_and_views_does_not_matter():
    z1, z2 = tokens()
    order, mask = torch.tensor([2, 0, 3, 1]), first([7, 3, 1, 5], 7)
    loss = hierarchical_contrastive(z1, z2, mask)
    torch.testing.assert_close(hierarchical_contrastive(z1[order], z2[order], mask[order]), loss)
    torch.testing.assert_close(hierarchical_contrastive(z2, z1, mask), loss)
    assert not torch.allclose(hierarchical_contrastive(z1, z2[order], mask), loss, rtol=1e-3)
