"""Row counts of ranks are exchanged between hosts in every gather, since data may decide them at any step."""

import pytest
import torch

from sensorium import collectives
from tests.distributed.ranks import on_ranks

STEPS = 12


def taken_by(case, step, rank):
    """How many rows a rank gathers: in one case ranks are alike for all but the last step."""
    return {"even": 4, "uneven": 3 + rank, "of data, late": 4 - (rank if step == STEPS - 1 else 0)}[case]


def steps(rank, world, case):
    """What every step gathers, and its gradient."""
    found = []
    for step in range(STEPS):
        x_ND = (torch.full((8, 2), float(10 * step + rank))).requires_grad_()
        rows_ND = x_ND[: taken_by(case, step, rank)]
        joined_MD, first = collectives.all_gather(rows_ND)
        joined_MD.sum().backward()
        found.append((joined_MD[:, 0].tolist(), first, collectives.count_rows(rows_ND), x_ND.grad[:, 0].tolist()))
    return found


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("case", ["even", "uneven", "of data, late"])
def test_gathers_know_the_rows_of_all_ranks_at_every_step(world, case, tmp_path):
    for rank, found in enumerate(on_ranks(world, steps, tmp_path, case)):
        for step, (joined, first, total, gradient) in enumerate(found):
            taken = [taken_by(case, step, r) for r in range(world)]
            assert joined == [float(10 * step + r) for r in range(world) for _ in range(taken[r])]
            assert (first, total) == (sum(taken[:rank]), sum(taken))
            assert gradient == [float(world)] * taken[rank] + [0.0] * (8 - taken[rank])


def test_one_rank_knows_its_rows():
    assert collectives.rank_sizes(3) == [3]
