"""Losses of mutual information: on two ranks with uneven rows, value and gradient are those of the joined batch."""

import pytest
import torch

from sensorium import losses
from tests.distributed.ranks import on_ranks

SIZES = [(3, 3), (4, 1), (2, 0), (1, 1)]


def problem(count):
    """Tokens, records, which tokens are real, and targets of the tokens."""
    rng = torch.Generator().manual_seed(count)
    tokens, targets = (torch.randn(count, 4, 3, generator=rng, dtype=torch.float64) for _ in range(2))
    pooled = torch.randn(count, 3, generator=rng, dtype=torch.float64)
    return tokens, pooled, torch.arange(4) < torch.tensor([4, 1, 3, 2, 4, 1])[:count, None], targets


LOSSES = {
    "jensen_shannon": lambda tokens, pooled, mask, _: losses.jensen_shannon(tokens, pooled, mask),
    "discrimination": lambda tokens, pooled, mask, _: losses.binary_discrimination(tokens[mask], pooled),
    "summary": lambda tokens, pooled, mask, _: losses.binary_discrimination(
        pooled @ losses.dgi_summary(pooled), tokens[mask]
    ),
    "scaled_cosine": lambda tokens, pooled, mask, targets: (
        losses.scaled_cosine_error(tokens, targets, mask) + 0 * pooled.sum()
    ),
}


def results(parts):
    found = {}
    for name, loss_of in LOSSES.items():
        tokens, pooled = (part.clone().requires_grad_() for part in parts[:2])
        loss = loss_of(tokens, pooled, *parts[2:])
        loss.backward()
        found[name] = [loss.detach(), tokens.grad, pooled.grad]
    return found


def one_rank(rank, world):
    return {sizes: results([part.split(sizes)[rank] for part in problem(sum(sizes))]) for sizes in SIZES}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_ranks(2, one_rank, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", LOSSES)
def test_ranks_agree_with_one_process(name, sizes, ranks):
    value, *gradients = results(problem(sum(sizes)))[name]
    first, second = (rank[sizes][name] for rank in ranks)
    assert any(g.abs().sum() > 0 for g in gradients)
    torch.testing.assert_close((first[0] + second[0]) / 2, value, rtol=1e-10, atol=1e-12)
    for i, whole in enumerate(gradients, 1):
        torch.testing.assert_close(torch.cat([first[i], second[i]]) / 2, whole, rtol=1e-8, atol=1e-12)


def test_a_rank_by_itself_would_differ(ranks):
    """The negative control: without the records of the other rank, a rank finds other values."""
    alone = results([part[:4] for part in problem(5)])
    for name in LOSSES:
        assert not torch.allclose(alone[name][0], ranks[0][(4, 1)][name][0]), name
