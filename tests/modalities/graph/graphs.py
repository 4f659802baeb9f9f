"""Graphs for tests: ordinary, unusual and generated ones."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from sensorium.modalities.graph.batch import Graph, GraphBatch
from sensorium.modalities.graph.modality import GraphModality
from sensorium.modalities.graph.samples import graphs


def fitted(raws=None, **options):
    """A modality fitted to the samples, or to other raw values."""
    modality = GraphModality(**options)
    modality.fit(graphs() if raws is None else raws)
    return modality


def sample_batch(modality=None):
    modality = modality or fitted()
    return modality.collate([modality.decode(raw) for raw in graphs()])


def ring(nodes, x=None):
    """A ring of undirected edges; of two nodes one edge, of one none."""
    one = torch.arange(nodes)
    pairs = {(int(a), int(b)) for a, b in zip(one, one.roll(-1), strict=True) if a != b}
    both = sorted(pairs | {(b, a) for a, b in pairs})
    edge_index = torch.tensor(both).T if both else torch.zeros(2, 0, dtype=torch.int64)
    x = torch.arange(nodes)[:, None] % 3 if x is None else x
    return Graph(edge_index, x)


@st.composite
def batches(draw, most=12):
    """A batch of one to five graphs of any size and any edges, as the sample modality decodes them."""
    made = []
    for nodes in draw(st.lists(st.integers(1, most), min_size=1, max_size=5)):
        ends = st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1))
        edges = draw(st.lists(ends, max_size=3 * nodes))
        edge_index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T
        rng = torch.Generator().manual_seed(draw(st.integers(0, 99)))
        count = len(edges)
        made.append(
            Graph(
                edge_index,
                torch.randint(0, 5, (nodes, 2), generator=rng),
                torch.randn(nodes, 3, generator=rng),
                torch.randint(0, 4, (count, 1), generator=rng),
                torch.rand(count, 1, generator=rng),
            )
        )
    return GraphBatch.join(made)


def consistent(batch):
    """Assert that sizes agree, nodes and edges are ordered by graph, and no edge joins two graphs."""
    assert int(batch.sizes.sum()) == len(batch.x) == len(batch.values) == len(batch.graph_index)
    assert int(batch.edge_sizes.sum()) == batch.edge_index.shape[1] == len(batch.edge_attr) == len(batch.edge_values)
    if batch.edge_index.numel():
        assert 0 <= int(batch.edge_index.min()) <= int(batch.edge_index.max()) < len(batch.x)
    source, target = batch.graph_index[batch.edge_index]
    assert torch.equal(source, target)
    assert torch.equal(source, batch.edge_graph_index)
