import numpy as np
import torch
from hypothesis import given, settings, strategies as st

from sensorium.modalities.graph.layout import RowLayout, runs

SIZES = st.lists(st.integers(0, 9), max_size=8).map(lambda sizes: np.array(sizes, np.int64))


@settings(max_examples=60, deadline=None)
@given(SIZES)
def test_rows_are_padded_graph_by_graph_and_come_back(sizes):
    layout = RowLayout.of_sizes(sizes, "cpu")
    rows = torch.arange(1, sizes.sum() + 1)
    padded = layout.pad(rows)
    assert padded.shape == (len(sizes), sizes.max(initial=0)) == layout.mask_BT.shape
    for row, part, size in zip(padded, rows.split(sizes.tolist()), sizes, strict=True):
        assert torch.equal(row[:size], part)
        assert not row[size:].any()
    assert torch.equal(layout.unpad(padded), rows)
    assert layout.graph_N.bincount(minlength=len(sizes)).tolist() == layout.sizes_B.tolist() == sizes.tolist()
    assert layout.is_full == (len(set(sizes.tolist())) < 2)


def test_a_mask_may_have_padding_anywhere():
    layout = RowLayout.of_mask(np.array([[False, True, True], [False, False, False], [True, False, True]]), "cpu")
    assert layout.graph_N.tolist() == [0, 0, 2, 2]
    assert layout.pad(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist() == [[0, 1, 2], [0, 0, 0], [3, 0, 4]]
    assert layout.sizes.tolist() == [2, 0, 2]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=12).map(lambda sizes: np.array(sizes, np.int64)))
def test_groups_by_size_have_every_node_once(sizes):
    layout = RowLayout.of_sizes(sizes, "cpu")
    nodes = [nodes_M for nodes_M, _ in layout.size_groups]
    assert torch.cat([torch.zeros(0, dtype=torch.int64), *nodes]).sort().values.tolist() == list(range(sizes.sum()))
    for nodes_M, group in layout.size_groups:
        assert torch.equal(layout.graph_N[nodes_M].unique(return_counts=True)[1], group.sizes_B)
        assert len(group.sizes) == 1 or group.mask_BT.numel() * group.mask_BT.shape[1] <= 1 << 22


def test_runs():
    assert runs(np.array([5, 0, 9]), np.array([2, 3, 0])).tolist() == [5, 6, 0, 1, 2]


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(1, 3))
def test_copies_lie_behind_each_other(sizes, copies):
    repeated = RowLayout.of_sizes(sizes, "cpu").repeat(copies)
    expected = RowLayout.of_sizes(np.tile(sizes, copies), "cpu")
    for name in ("sizes_B", "graph_N", "place_N", "mask_BT"):
        assert torch.equal(getattr(repeated, name), getattr(expected, name)), name
    assert repeated.sizes.tolist() == expected.sizes.tolist()
