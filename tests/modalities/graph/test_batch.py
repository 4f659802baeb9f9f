import copy
import pickle

import torch
from hypothesis import given, settings, strategies as st
from torch.utils._pytree import tree_flatten, tree_unflatten

from sensorium.modalities.graph.batch import Graph, GraphBatch
from sensorium.testing.equality import same
from tests.modalities.graph.graphs import batches, consistent, sample_batch


@settings(max_examples=40, deadline=None)
@given(batches(), st.data())
def test_select_equals_splitting_and_joining(batch, data):
    index = data.draw(st.lists(st.integers(0, len(batch) - 1), min_size=1, max_size=6))
    chosen = batch.select(torch.tensor(index))
    consistent(chosen)
    parts = list(batch.graphs())
    assert same(chosen, GraphBatch.join([parts[i] for i in index]))
    assert same(GraphBatch.cat([batch.select(torch.tensor([i])) for i in index]), chosen)


@settings(max_examples=40, deadline=None)
@given(batches(), st.integers(0, 99))
def test_subgraph_is_the_induced_subgraph(batch, seed):
    keep_N = torch.rand(len(batch.x), generator=torch.Generator().manual_seed(seed)) < 0.6
    part = batch.subgraph(keep_N)
    consistent(part)
    assert torch.equal(part.x, batch.x[keep_N])
    names = keep_N.nonzero()[:, 0]
    kept = [(int(a), int(b)) for a, b in batch.edge_index.T if keep_N[a] and keep_N[b]]
    assert [(int(names[a]), int(names[b])) for a, b in part.edge_index.T] == kept


def test_a_mask_selects_as_its_indices_do():
    batch = sample_batch()
    mask = torch.tensor([True, False, True, True, False, False])
    assert same(batch.select(mask), batch.select(mask.nonzero()[:, 0]))


def test_an_empty_batch():
    empty = sample_batch().select(torch.zeros(0, dtype=torch.int64))
    consistent(empty)
    assert len(empty) == 0
    assert list(empty.graphs()) == []
    assert empty.padded(empty.x)[0].shape == (0, 0, 2)


def test_is_a_pytree_that_moves_and_pickles():
    batch = sample_batch()
    leaves, spec = tree_flatten(batch)
    assert len(leaves) == 7
    assert same(tree_unflatten(leaves, spec), batch)
    assert batch.to("meta").device.type == "meta"
    assert batch.to("meta").shape_key() == batch.shape_key()
    assert same(pickle.loads(pickle.dumps(batch)), batch)
    batch.graph_index  # noqa: B018  a cached property is no part of the batch
    assert same(copy.deepcopy(batch), batch)


def test_padding():
    batch = sample_batch()
    padded_BTF, mask_BT = batch.padded(batch.x)
    assert mask_BT.sum(1).tolist() == batch.sizes.tolist()
    for row, graph in zip(padded_BTF, batch.graphs(), strict=True):
        assert torch.equal(row[: len(graph)], graph.x)
        assert not row[len(graph) :].any()


def test_graphs_without_features():
    featureless = GraphBatch.join(
        [Graph(torch.tensor([[0], [1]]), num_nodes=4), Graph(torch.zeros(2, 0, dtype=torch.int64), num_nodes=1)]
    )
    consistent(featureless)
    assert featureless.sizes.tolist() == [4, 1]
    assert featureless.shape_key() == (GraphBatch, 0, 0, 0, 0)
