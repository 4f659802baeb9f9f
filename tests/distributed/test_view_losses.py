"""Losses between views: on ranks with different, uneven rows, value and gradient are those of the joined batch."""

import pytest
import torch

from sensorium import losses
from tests.distributed.ranks import on_ranks

SIZES = [(4, 4), (5, 2), (3, 0), (1, 1), (3, 0, 2, 3)]
T = 5


def problem(count):
    """Two views' rows, scores of the tokens of each, and which of those are masked: `count` records."""
    rng = torch.Generator().manual_seed(count)
    rows = [torch.randn(count, 6, generator=rng, dtype=torch.float64) for _ in range(2)]
    tokens = torch.randn(count, T, 6, generator=rng, dtype=torch.float64)
    masked = torch.arange(T) < torch.tensor([3, 0, 1, 5, 2, 1, 4, 2])[:count, None]
    return *rows, tokens, masked


def queue(rows=9):
    return torch.randn(rows, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def by_sinkhorn(x, y, tokens, masked):
    codes = [losses.sinkhorn_knopp(z, 0.5) for z in (x, y)]
    return losses.swapped_cross_entropy([x, y, x + y], codes, 0.1)


def by_weights(x, y, tokens, masked):
    return losses.swapped_cross_entropy([x, y, x + y], [x.detach().softmax(1)], 0.1, [1.0, 0.25, torch.tensor(2.0)])


def by_center(x, y, tokens, masked):
    center = losses.update_center(torch.zeros(6, dtype=torch.float64), torch.cat([x, y]))
    targets = [losses.centered_softmax(z, center, 0.07) for z in (x, y)]
    return losses.swapped_cross_entropy([x, y], targets, 0.1)


def by_visreg(x, y, *_):
    directions = torch.nn.functional.normalize(queue().T, dim=0)
    terms = losses.visreg(torch.stack([x, y], dim=1), directions)
    return terms.scale + 2 * terms.shape + 3 * terms.center


LOSSES = {
    "visreg": by_visreg,
    "global_view": lambda x, y, *_: losses.global_view_prediction(torch.stack([x, 2 * y], dim=1), 2),
    "negative_cosine": lambda x, y, *_: losses.negative_cosine(x, y) + losses.negative_cosine(y, x),
    "barlow_twins": lambda x, y, *_: losses.barlow_twins(x, y, 0.1),
    "vicreg": lambda x, y, *_: losses.vicreg(0.1 * x, y),
    "whitening_mse": lambda x, y, *_: losses.whitening_mse(x, y, 0.05),
    "queue_contrast": lambda x, y, *_: losses.queue_info_nce(x, y, [losses.NegativeRows(queue())], 0.2),
    "nearest": lambda x, y, *_: losses.info_nce(losses.nearest_in_queue(x, queue()), y, 0.2),
    "decoupled": lambda x, y, *_: losses.decoupled_contrastive(x, y, 0.2),
    "koleo": lambda x, y, *_: losses.koleo(x),
    "sinkhorn": by_sinkhorn,
    "center": by_center,
    "weighted": by_weights,
    "masked": lambda x, y, tokens, masked: losses.masked_cross_entropy(
        tokens[masked], tokens[masked].detach().softmax(1), masked, 0.3
    ),
    "gram": lambda x, y, tokens, masked: losses.gram_anchoring(tokens, tokens.flip(1, 2).square()),
    "gram_of_some": lambda x, y, tokens, masked: losses.gram_anchoring(tokens, tokens.flip(1, 2).square(), masked),
}


def results(parts):
    """Return value and gradients of every loss on one rank's part of a problem."""
    found = {}
    for name, loss_of in LOSSES.items():
        x, y, tokens = (part.clone().requires_grad_() for part in parts[:3])
        loss = loss_of(x, y, tokens, parts[3])
        loss.backward()
        found[name] = [loss.detach(), *(torch.zeros_like(z) if z.grad is None else z.grad for z in (x, y, tokens))]
    return found


def one_rank(rank, world):
    return {
        sizes: results([part.split(sizes)[rank] for part in problem(sum(sizes))])
        for sizes in SIZES
        if len(sizes) == world
    }


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return {world: on_ranks(world, one_rank, tmp_path_factory.mktemp("ranks")) for world in (2, 4)}


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", LOSSES)
def test_ranks_agree_with_one_process(name, sizes, ranks):
    value, *gradients = results(problem(sum(sizes)))[name]
    world = len(sizes)
    found = [rank[sizes][name] for rank in ranks[world]]
    assert any(g.abs().sum() > 0 for g in gradients)
    torch.testing.assert_close(sum(f[0] for f in found) / world, value, rtol=1e-10, atol=1e-12)
    for i, whole in enumerate(gradients, 1):
        torch.testing.assert_close(torch.cat([f[i] for f in found]) / world, whole, rtol=1e-8, atol=1e-12)


def test_a_rank_by_itself_would_differ(ranks):
    """The negative control: on its own rows alone, a rank finds other values and gradients."""
    alone = results([part[:5] for part in problem(7)])
    of_single_records = {
        "negative_cosine",
        "queue_contrast",
        "masked",
        "weighted",
        "gram",
        "gram_of_some",
        "global_view",
    }
    for name in set(LOSSES) - of_single_records:
        mine, shared = (torch.stack(found[name][1:3]) for found in (alone, ranks[2][0][(5, 2)]))
        assert not torch.allclose(mine, shared / 2 * 7 / 5, rtol=1e-3), name
