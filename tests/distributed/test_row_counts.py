"""Row counts of ranks: exchanged once a step where batches are alike, in every gather where they are not."""

import pytest
import torch

from sensorium import collectives
from sensorium.models.learner import layout
from sensorium.parallel import row_counts
from sensorium.parallel.row_counts import WATCHED, RowCounts
from sensorium.types import View
from tests.distributed.ranks import on_ranks
from tests.toys import VectorBatch

STEPS = WATCHED + 4


def sizes(case, step, rank):
    """How many rows a rank has, and how many of them it gathers, data decides in one case."""
    if case == "uneven":
        return 3 + rank, 3 + rank
    if case == "of data":
        return 4, 1 + (step + rank) % 3
    return 4, 4


def steps(rank, world, case):
    """What every step gathers, its gradient, and how often integers were exchanged in it."""
    exchanged, exchange = [], row_counts.exchange_ints

    def counting(numbers):
        exchanged.append(numbers)
        return exchange(numbers)

    row_counts.exchange_ints = counting
    counts, found = RowCounts(), []
    for step in range(STEPS):
        exchanged.clear()
        here, taken = sizes(case, step, rank)
        x_ND = (torch.full((here, 2), float(10 * step + rank))).requires_grad_()
        views = {"a": [View(VectorBatch(x_ND.detach()), modality="a")]}
        with counts.of_step(lambda views=views: layout(views)):
            joined_MD, first = collectives.all_gather(x_ND[:taken])
            total = collectives.count_rows(x_ND[:taken])
        joined_MD.sum().backward()
        found.append((joined_MD[:, 0].tolist(), first, total, x_ND.grad[:, 0].tolist(), len(exchanged)))
    return found


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("case", ["even", "uneven", "of data"])
def test_counts_are_right_and_exchanged_no_oftener_than_needed(world, case, tmp_path):
    for rank, found in enumerate(on_ranks(world, steps, tmp_path, case)):
        for step, (joined, first, total, gradient, exchanges) in enumerate(found):
            taken = [sizes(case, step, r)[1] for r in range(world)]
            assert joined == [float(10 * step + r) for r in range(world) for _ in range(taken[r])]
            assert (first, total) == (sum(taken[:rank]), sum(taken))
            assert gradient == [float(world)] * taken[rank] + [0.0] * (len(gradient) - taken[rank])
            assert exchanges == (1 if case == "even" and step >= WATCHED else 3)


def presences(rank, world):
    counts, present = RowCounts(), torch.tensor([True, rank == 0, rank == 1]).numpy()
    views = {"a": [View(VectorBatch(torch.zeros(2, 2)), modality="a", present=present)]}
    with counts.of_step(lambda: layout(views)):
        return counts.alike


def test_ranks_whose_records_lack_different_modalities_are_notalike(tmp_path):
    assert on_ranks(2, presences, tmp_path) == [False, False]


def test_one_rank_exchanges_nothing():
    def never():
        raise AssertionError("one rank has nobody to be like")

    with RowCounts().of_step(never):
        assert collectives.rank_sizes(3) == [3]
