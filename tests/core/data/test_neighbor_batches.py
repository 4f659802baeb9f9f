import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from sensorium import RecordColumns
from sensorium.data.neighbor_batches import neighbors_of, side_by_side
from sensorium.data.order import EpochOrder
from sensorium.errors import DataError


def named(*ids):
    return RecordColumns(len(ids), pa.array(ids))


@given(st.integers(1, 40), st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_every_record_comes_once_and_the_first_brings_all_its_neighbors(count, seed):
    rng = np.random.default_rng(seed)
    order, near = rng.permutation(count), [rng.choice(count, rng.integers(0, min(count, 5))) for _ in range(count)]
    near = [np.unique(row) for row in near]
    made = side_by_side(order, near)
    assert sorted(made.tolist()) == list(range(count))
    at, mine = made.tolist().index(order[0]), set(near[order[0]].tolist()) - {order[0]}
    assert set(made[at + 1 : at + 1 + len(mine)].tolist()) == mine


def test_neighbors_meet_in_batches_and_every_epoch_differs():
    near = [np.array([i ^ 1]) for i in range(64)]  # in pairs
    order = EpochOrder(64, 8, seed=0, neighbors=near)
    for step in range(16):
        batch = set(order.positions(step).tolist())
        assert all(record ^ 1 in batch for record in batch)
    assert order.positions(0).tolist() != order.positions(8).tolist()
    plain = EpochOrder(64, 8, seed=0)
    assert not all(record ^ 1 in plain.positions(0) for record in plain.positions(0))
    again = EpochOrder(64, 8, seed=0, neighbors=near)  # the order has no state: resuming is asking for a later step
    assert again.positions(11).tolist() == order.positions(11).tolist()


def test_the_last_batches_of_an_epoch_have_neighbors_too():
    rng = np.random.default_rng(0)
    near = [rng.choice(1000, 3, replace=False) for _ in range(1000)]
    made = side_by_side(rng.permutation(1000), near)

    def met(part):
        return np.mean([any(part[i] in near[r] for r in part[max(i - 3, 0) : i]) for i in range(1, len(part))])

    assert abs(met(made[:500]) - met(made[500:])) < 0.1
    assert met(made[500:]) > 0.3


def test_pairs_are_read_by_id(tmp_path):
    path = tmp_path / "mined.parquet"
    pairs = {"query": ["a", "a", "c", "x"], "negative": ["b", "c", "y", "a"], "rank": [1, 2, 1, 1]}
    pq.write_table(pa.table(pairs), path)
    assert [row.tolist() for row in neighbors_of(path, named("c", "b", "a"))] == [[], [], [1, 0]]
    with pytest.raises(DataError, match="None of the 4 pairs"):
        neighbors_of(path, named("u", "v"))
    (tmp_path / "other.parquet").write_text("no table")
    with pytest.raises(DataError, match="has no neighbors"):
        neighbors_of(tmp_path / "other.parquet", named("a"))
