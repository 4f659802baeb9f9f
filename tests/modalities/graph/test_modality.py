import json

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from sensorium import BadSample
from sensorium.errors import DataError, RecipeError
from sensorium.modalities.graph.batch import Graph
from sensorium.modalities.graph.modality import GraphModality
from sensorium.modalities.graph.weisfeiler_lehman import weisfeiler_lehman
from sensorium.testing.equality import same
from tests.modalities.graph.graphs import fitted, ring, sample_batch

EDGE = torch.tensor([[0], [1]])


def test_categories_are_those_of_the_train_part_and_others_are_0():
    modality = fitted([Graph(EDGE, torch.tensor([[7], [-2]])), Graph(EDGE, torch.tensor([[7], [30]]))])
    assert modality.schema.node_categories == (4,)
    assert modality.decode(Graph(EDGE, torch.tensor([[30], [8]]))).x.tolist() == [[3], [0]]


def test_numeric_features_are_scaled_by_the_train_part():
    values = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    modality = fitted([Graph(EDGE, values=values)])
    assert modality.decode(Graph(EDGE, values=values)).values.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert same(fitted([Graph(EDGE, values=values)], scale="none").decode(Graph(EDGE, values=values)).values, values)


def test_missing_reverse_edges_are_added_unless_directed():
    graph = Graph(
        torch.tensor([[0, 1, 1, 2], [1, 0, 2, 2]]),
        torch.tensor([[1], [1], [1]]),
        edge_attr=torch.tensor([[5], [6], [7], [8]]),
    )
    found = fitted([graph]).decode(graph)
    assert found.edge_index.T.tolist() == [[0, 1], [1, 0], [1, 2], [2, 2], [2, 1]]
    assert found.edge_attr[4] == found.edge_attr[2]
    assert fitted([graph], directed=True).decode(graph).edge_index.shape == (2, 4)


def test_duplicate_edges_are_kept():
    graph = Graph(torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0]]), torch.tensor([[1], [1]]))
    assert fitted([graph]).decode(graph).edge_index.shape == (2, 4)


def test_nodes_without_features_get_their_degree():
    star = {"edge_index": [[0, 0, 0], [1, 2, 3]]}
    modality = fitted([star])
    assert modality.decode(star).x[:, 0].tolist() == [2, 1, 1, 1]
    assert modality.schema.node_categories == (3,)


def test_pytorch_geometric_data_is_read():
    data = Data(x=torch.rand(3, 2), edge_index=torch.tensor([[0, 1], [1, 0]]), edge_attr=torch.tensor([4, 5]))
    found = fitted([data]).decode(data)
    assert found.values.shape == (3, 2)
    assert found.edge_attr.tolist() == [[1], [2]]
    featureless = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=5)
    assert len(fitted([featureless]).decode(featureless)) == 5


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"edge_index": np.zeros((2, 0), int)}, "no node"),
        ({"edge_index": [[0], [3]], "x": [1, 1]}, "missing node"),
        ({"edge_index": [[0], [-1]], "x": [1, 1]}, "missing node"),
        ({"edge_index": [[0.5], [1]], "x": [1, 1]}, "not integers"),
        ({"edge_index": [[0, 1]], "x": [1, 1]}, "not integers"),
        ({"edge_index": [[0], [1]], "x": [1.0, float("nan")]}, "non-finite"),
        ({"edge_index": [[0], [1]], "x": [1, 1], "edge_attr": [1, 2]}, "rows"),
        ({"edge_index": [[0], [1]], "x": [[[1]], [[1]]]}, "axes"),
        ({"edge_index": [[0], [1]], "x": [1.5, 1.0]}, "columns of x"),
        ({"edge_index": "no", "x": [1, 1]}, "not an array"),
        ("C1=CC", "not str"),
        (None, "not NoneType"),
    ],
)
def test_invalid_graphs_are_unreadable(raw, reason):
    modality = fitted([Graph(EDGE, torch.tensor([[1], [1]]))])
    with pytest.raises(BadSample, match=reason):
        modality.decode(raw)


def test_numeric_features_that_overflow_float32_are_unreadable():
    modality = fitted([Graph(EDGE, values=torch.rand(2, 1))])
    with pytest.raises(BadSample, match="overflows float32"):
        modality.decode({"edge_index": EDGE, "values": np.array([[1e300], [0.0]])})


def test_fit_needs_readable_graphs_of_the_same_features():
    with pytest.raises(DataError, match="no readable graph"):
        GraphModality().fit([b"", "x", {"edge_index": np.zeros((2, 0), int)}])
    with pytest.raises(DataError, match="different numbers of columns of x: 1 and 2"):
        GraphModality().fit(
            [Graph(EDGE, torch.ones(2, 1, dtype=torch.int64)), Graph(EDGE, torch.ones(2, 2, dtype=torch.int64))]
        )
    with pytest.raises(RecipeError, match="max_degree"):
        GraphModality(max_degree=-1)


def test_state_is_json_and_restores():
    modality, other = fitted(), GraphModality()
    other.load_state(json.loads(json.dumps(modality.state())))
    assert other.schema == modality.schema
    assert same(other.state(), modality.state())


def test_max_nodes():
    with pytest.raises(BadSample, match="5 nodes, more than max_nodes = 4"):
        fitted([ring(4)], max_nodes=4).decode(ring(5))


def wl_by_loops(graph, iterations):
    """The colors of all iterations as nested tuples (Shervashidze et al. 2011, algorithm 2)."""
    colors = [tuple(row.tolist()) for row in graph.x]
    found = [*colors]
    for _ in range(iterations):
        messages = [[] for _ in colors]
        for (a, b), edge in zip(graph.edge_index.T.tolist(), graph.edge_attr.tolist(), strict=True):
            messages[b].append((colors[a], tuple(edge)))
        colors = [(color, tuple(sorted(received, key=repr))) for color, received in zip(colors, messages, strict=True)]
        found += colors
    return found


def test_weisfeiler_lehman_equals_a_reference_by_loops():
    batch = sample_batch()
    counts = weisfeiler_lehman(batch, iterations=2, width=1 << 20)
    by_loops = [wl_by_loops(graph, 2) for graph in batch.graphs()]
    assert counts.sum(1).tolist() == [len(found) for found in by_loops]
    assert [int((row > 0).sum()) for row in counts] == [len(set(found)) for found in by_loops]
    assert int((counts.sum(0) > 0).sum()) == len({color for found in by_loops for color in found})


def test_weisfeiler_lehman_is_invariant_to_node_order():
    one, other = ring(7), ring(7)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    other.x, other.edge_index = one.x[order], order.argsort()[one.edge_index]
    modality = fitted([one])
    counts = weisfeiler_lehman(
        modality.collate([modality.decode(one), modality.decode(other), modality.decode(ring(6))])
    )
    assert torch.equal(counts[0], counts[1])
    assert not torch.equal(counts[0], counts[2])


def test_a_graph_of_thousands_is_drawn():
    image = fitted([ring(5)]).preview(ring(2000))
    assert (image.mode, image.size) == ("RGB", (256, 256))
