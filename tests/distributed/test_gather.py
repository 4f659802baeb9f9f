"""The gather policy as a truth table: ranks, who wants gradient, and uneven counts, to value and factor of gradient.

The loss of every rank is a share, its rows' sum of squares with all joined rows times the number of ranks. Its mean
over ranks, as DDP takes it, is to be the loss of the joined batch, with the gradient's factor one.
"""

import pytest
import torch

from sensorium import collectives
from tests.distributed.ranks import on_ranks

EVEN, UNEVEN, EMPTY = "even", "uneven", "one rank empty"
SIZES = {
    1: {EVEN: (3,)},
    2: {EVEN: (3, 3), UNEVEN: (4, 1), EMPTY: (5, 0)},
    4: {EVEN: (2, 2, 2, 2), UNEVEN: (3, 1, 2, 4), EMPTY: (2, 0, 0, 3)},
}
WANTS = {"every": lambda rank: True, "first": lambda rank: rank == 0, "none": lambda rank: False}

TABLE = [
    # ranks, counts, who wants gradient, factor of its gradient (None: none)
    (1, EVEN, "every", 1.0),
    (1, EVEN, "none", None),
    (2, EVEN, "every", 1.0),
    (2, EVEN, "first", 1.0),
    (2, EVEN, "none", None),
    (2, UNEVEN, "every", 1.0),
    (2, UNEVEN, "first", 1.0),
    (2, UNEVEN, "none", None),
    (2, EMPTY, "every", 1.0),
    (2, EMPTY, "first", 1.0),
    (2, EMPTY, "none", None),
    (4, EVEN, "every", 1.0),
    (4, UNEVEN, "every", 1.0),
    (4, UNEVEN, "first", 1.0),
    (4, EMPTY, "every", 1.0),
    (4, EMPTY, "first", 1.0),
    (4, EMPTY, "none", None),
]


def rows(count):
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def cells(world):
    return [row[1:3] for row in TABLE if row[0] == world]


def share(own_ND, joined_MD, world):
    return world * (own_ND @ joined_MD.T).square().sum() / len(joined_MD) ** 2


def without_gradient(x_ND):
    """A mutant: what a plain all-gather gives, gradient of this rank's own use alone."""
    joined_MD, first = collectives.all_gather(x_ND.detach())
    return torch.cat([joined_MD[:first], x_ND, joined_MD[first + len(x_ND) :]]), first


def one_cell(rank, world, counts, who, gather):
    sizes = SIZES[world][counts]
    own_ND = rows(sum(sizes)).split(sizes)[rank].clone().requires_grad_(WANTS[who](rank))
    joined_MD, first = gather(own_ND)
    found = {"joined": joined_MD.detach(), "first": first, "carries": joined_MD.requires_grad}
    if joined_MD.requires_grad:
        share(own_ND, joined_MD, world).backward()
    return found | {"gradient": own_ND.grad}


def one_rank(rank, world):
    given = {(*cell, "right"): (*cell, collectives.all_gather) for cell in cells(world)}
    given[EVEN, "every", "mutant"] = (EVEN, "every", without_gradient)
    return {key: one_cell(rank, world, *cell) for key, cell in given.items()}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    several = {w: on_ranks(w, one_rank, tmp_path_factory.mktemp(f"ranks-{w}")) for w in (2, 4)}
    return {1: [one_rank(0, 1)], **several}


def factor(found, world, counts, who, form="right"):
    """Return the gradient of the first rank that wants one, after DDP's mean, over that of the joined batch."""
    sizes = SIZES[world][counts]
    whole_ND = rows(sum(sizes))
    leaves = [part.clone().requires_grad_(WANTS[who](rank)) for rank, part in enumerate(whole_ND.split(sizes))]
    joined_MD = torch.cat(leaves)
    (share(joined_MD, joined_MD, 1)).backward()
    for rank, leaf in enumerate(leaves):
        if leaf.requires_grad and len(leaf):
            return found[world][rank][counts, who, form]["gradient"] / world / leaf.grad
    raise AssertionError("no rank wants a gradient")


@pytest.mark.parametrize(("world", "counts", "who", "expected"), TABLE)
def test_value_and_factor_of_gradient(world, counts, who, expected, found):
    sizes = SIZES[world][counts]
    for rank, of_rank in enumerate(found[world]):
        cell = of_rank[counts, who, "right"]
        assert torch.equal(cell["joined"], rows(sum(sizes)))
        assert cell["first"] == sum(sizes[:rank])
        assert cell["carries"] == (expected is not None)
        if not WANTS[who](rank):
            assert cell["gradient"] is None
    if expected is not None:
        ratio = factor(found, world, counts, who)
        assert torch.allclose(ratio, torch.full_like(ratio, expected), rtol=1e-9)


@pytest.mark.parametrize("world", [2, 4])
def test_a_gather_that_drops_the_gradient_of_other_ranks_is_caught(world, found):
    ratio = factor(found, world, EVEN, "every", "mutant")
    assert not torch.allclose(ratio, torch.ones_like(ratio), rtol=1e-2)


def test_a_share_is_the_mean_in_one_process_and_zero_of_nothing():
    summed = torch.tensor(6.0, requires_grad=True)
    assert collectives.share(summed, 4) == collectives.share(summed, torch.tensor(4)) == 1.5
    assert collectives.share(0 * summed, 0) == collectives.share(0 * summed, torch.tensor(0)) == 0


def gathered(rank, world):
    x_ND = rows(3 + rank).requires_grad_()
    joined_MD = collectives.gather(x_ND)
    collectives.share(joined_MD.square().sum() / world, len(joined_MD)).backward()
    return joined_MD.detach(), x_ND.grad, collectives.world()


def test_gather_returns_the_joined_rows_alone_with_exact_gradient(tmp_path):
    found = on_ranks(2, gathered, tmp_path)
    whole_MD = torch.cat([rows(3), rows(4)]).requires_grad_()
    (whole_MD.square().sum() / len(whole_MD)).backward()
    means = [grad / 2 for _, grad, _ in found]  # a row is of one rank: DDP's mean over ranks halves it
    assert torch.equal(found[0][0], whole_MD)
    assert torch.equal(found[1][0], whole_MD)
    assert torch.allclose(torch.cat(means), whole_MD.grad)
    assert [world for _, _, world in found] == [(0, 2), (1, 2)]


def test_without_a_process_group_there_is_one_rank():
    x_ND = rows(3)
    assert collectives.gather(x_ND) is x_ND
    assert collectives.world() == collectives.World(rank=0, size=1)
