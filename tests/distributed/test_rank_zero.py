"""What rank 0 does for all: its result and its error reach every rank, and nothing of it waits for a device."""

import pytest
import torch
import torch.distributed as dist

from sensorium import collectives
from sensorium.errors import Interrupted, RecipeError, SensoriumError
from sensorium.parallel.host_group import host_group
from sensorium.parallel.rank_zero import on_every_rank, on_rank_zero
from tests.distributed.ranks import on_ranks


class Unpicklable(Exception):
    """Its constructor asks for more than its sentence, so that unpickling it fails."""

    def __init__(self, sentence, more):
        super().__init__(sentence)
        self.more = more


def work(kind):
    assert collectives.rank() == 0, "the others only wait"
    if kind == "recipe":
        raise RecipeError("The sentence.")
    if kind == "interrupted":
        raise Interrupted("The sentence.", 2)
    if kind == "unpicklable":
        raise Unpicklable("The sentence.", lambda: None)
    return {"answer": 42}


def outcome(rank, world, kind):
    try:
        found = on_rank_zero(work, kind=kind)
    except Exception as error:
        found = type(error).__name__, str(error), getattr(error, "code", None)
    return found, collectives.all_gather_objects(rank)  # the ranks are still in step


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("fine", {"answer": 42}, {"answer": 42}),
        ("recipe", ("RecipeError", "The sentence.", 2), ("RecipeError", "The sentence.", 2)),
        ("interrupted", ("Interrupted", "The sentence.", 130), ("Interrupted", "The sentence.", 130)),
        ("unpicklable", ("Unpicklable", "The sentence.", None), ("SensoriumError", "The sentence.", 1)),
    ],
)
def test_result_and_error_reach_every_rank(kind, first, second, tmp_path):
    assert on_ranks(2, outcome, tmp_path, kind) == [(first, [0, 1]), (second, [0, 1])]


def test_one_process_calls_the_function():
    assert on_rank_zero(work, "fine") == {"answer": 42}
    with pytest.raises(SensoriumError, match="The sentence"):
        on_rank_zero(work, "recipe")


def failing_on(ranks):
    if collectives.rank() in ranks:
        raise RecipeError(f"The sentence of rank {collectives.rank()}.")
    return collectives.rank()


def outcomes_of_all(rank, world):
    found = []
    for failing in ([], [1], [0, 1]):
        try:
            found.append(on_every_rank(failing_on, failing))
        except RecipeError as error:
            found.append(str(error))
    return found, collectives.gather_objects(rank)


def test_the_error_of_any_rank_is_raised_on_all(tmp_path):
    one, two = "The sentence of rank 0.", "The sentence of rank 1."
    assert on_ranks(2, outcomes_of_all, tmp_path) == [([0, two, one], [0, 1]), ([1, two, two], None)]


def groups(rank, world):
    """Count the operations of the default group, which would be NCCL's on GPUs, while host values are exchanged."""
    before = dist.group.WORLD._get_sequence_number_for_group()
    found = (
        collectives.rank_sizes(rank + 1),
        collectives.count_rows(torch.zeros(rank, 2)),
        collectives.any_rank(rank == 1),
        collectives.any_rank(False),
        collectives.broadcast(f"rank {rank}"),
        collectives.all_gather_objects(rank),
    )
    collectives.barrier()
    exchanged = dist.group.WORLD._get_sequence_number_for_group() - before
    collectives.all_reduce_sum(torch.zeros(1))
    return found, exchanged, dist.group.WORLD._get_sequence_number_for_group() - before, host_group() is host_group()


def test_what_the_host_knows_never_goes_over_the_group_of_the_device(tmp_path):
    found = on_ranks(2, groups, tmp_path)
    assert found[0][0] == found[1][0] == ([1, 2], 1, True, False, "rank 0", [0, 1])
    assert [of_rank[1:] for of_rank in found] == [(0, 1, True)] * 2
