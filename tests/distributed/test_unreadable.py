"""Unreadable values on several ranks are counted together and written once."""

import numpy as np

from sensorium.data.unreadable import UnreadableRecords
from sensorium.errors import DataError
from tests.core.data.test_unreadable import value
from tests.distributed.ranks import on_ranks
from tests.unreadable import unreadable

SEEN = [[("a", "empty"), ("b", "cut")], [("b", "cut"), ("c", "no bytes")]]
"""What each rank could not read; one record was read by both, in different epochs."""


def counting(rank, world, path, max_bad):
    bad = UnreadableRecords(20, max_bad, path, {"train": np.arange(20)})
    for id, reason in SEEN[rank]:
        bad.add(value(id, reason))
    before = len(bad)
    try:
        bad.share()
        bad.share()
    except DataError as error:
        return before, len(bad), str(error)
    return before, len(bad), None


def test_they_are_counted_over_all_ranks_and_written_once(tmp_path):
    path = tmp_path / "unreadable.csv"
    assert on_ranks(2, counting, tmp_path, path, 0.2) == [(0, 3, None), (0, 3, None)]
    rows = [(row["record"], row["part"], row["reason"]) for row in unreadable(tmp_path)]
    assert rows == [("a", "train", "empty"), ("b", "train", "cut"), ("c", "train", "no bytes")]


def test_too_many_stop_every_rank_with_one_sentence(tmp_path):
    (_, _, first), (_, _, second) = on_ranks(2, counting, tmp_path, tmp_path / "unreadable.csv", 0.1)
    assert first == second
    assert first.startswith("3 of 20 records are unreadable or have an unreadable value (15 %), more than data.max_bad")
