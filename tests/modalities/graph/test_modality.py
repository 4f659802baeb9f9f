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


def test_classes_are_those_of_the_train_part_and_others_are_class_0():
    modality = fitted([Graph(EDGE, torch.tensor([[7], [-2]])), Graph(EDGE, torch.tensor([[7], [30]]))])
    assert modality.schema.nodes == (4,)
    assert modality.decode(Graph(EDGE, torch.tensor([[30], [8]]))).x.tolist() == [[3], [0]]


def test_numbers_are_scaled_by_the_train_part():
    values = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    modality = fitted([Graph(EDGE, values=values)])
    assert modality.decode(Graph(EDGE, values=values)).values.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert same(fitted([Graph(EDGE, values=values)], scale="none").decode(Graph(EDGE, values=values)).values, values)


def test_an_edge_that_lacks_its_way_back_gets_it_unless_edges_are_directed():
    graph = Graph(
        torch.tensor([[0, 1, 1, 2], [1, 0, 2, 2]]),
        torch.tensor([[1], [1], [1]]),
        edge_attr=torch.tensor([[5], [6], [7], [8]]),
    )
    found = fitted([graph]).decode(graph)
    assert found.edge_index.T.tolist() == [[0, 1], [1, 0], [1, 2], [2, 2], [2, 1]]
    assert found.edge_attr[4] == found.edge_attr[2]
    assert fitted([graph], directed=True).decode(graph).edge_index.shape == (2, 4)


def test_edges_that_are_there_twice_stay():
    graph = Graph(torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0]]), torch.tensor([[1], [1]]))
    assert fitted([graph]).decode(graph).edge_index.shape == (2, 4)


def test_nodes_that_carry_nothing_have_their_degree():
    star = {"edge_index": [[0, 0, 0], [1, 2, 3]]}
    modality = fitted([star])
    assert modality.decode(star).x[:, 0].tolist() == [2, 1, 1, 1]
    assert modality.schema.nodes == (3,)


def test_data_of_pytorch_geometric_is_a_graph():
    data = Data(x=torch.rand(3, 2), edge_index=torch.tensor([[0, 1], [1, 0]]), edge_attr=torch.tensor([4, 5]))
    found = fitted([data]).decode(data)
    assert found.values.shape == (3, 2)
    assert found.edge_attr.tolist() == [[1], [2]]
    bare = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=5)
    assert len(fitted([bare]).decode(bare)) == 5


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"edge_index": np.zeros((2, 0), int)}, "no node"),
        ({"edge_index": [[0], [3]], "x": [1, 1]}, "not there"),
        ({"edge_index": [[0], [-1]], "x": [1, 1]}, "not there"),
        ({"edge_index": [[0.5], [1]], "x": [1, 1]}, "not integers"),
        ({"edge_index": [[0, 1]], "x": [1, 1]}, "not integers"),
        ({"edge_index": [[0], [1]], "x": [1.0, float("nan")]}, "not finite"),
        ({"edge_index": [[0], [1]], "x": [1, 1], "edge_attr": [1, 2]}, "rows"),
        ({"edge_index": [[0], [1]], "x": [[[1]], [[1]]]}, "axes"),
        ({"edge_index": [[0], [1]], "x": [1.5, 1.0]}, "columns of x"),
        ({"edge_index": "no", "x": [1, 1]}, "no array"),
        ("C1=CC", "not str"),
        (None, "not NoneType"),
    ],
)
def test_bad_graphs_are_refused_with_the_reason(raw, reason):
    modality = fitted([Graph(EDGE, torch.tensor([[1], [1]]))])
    with pytest.raises(BadSample, match=reason):
        modality.decode(raw)


def test_numbers_beyond_single_precision_are_refused():
    modality = fitted([Graph(EDGE, values=torch.rand(2, 1))])
    with pytest.raises(BadSample, match="too large"):
        modality.decode({"edge_index": EDGE, "values": np.array([[1e300], [0.0]])})


def test_fitting_needs_graphs_that_agree():
    with pytest.raises(DataError, match="no graph"):
        GraphModality().fit([b"", "x", {"edge_index": np.zeros((2, 0), int)}])
    with pytest.raises(DataError, match="do not agree on x"):
        GraphModality().fit(
            [Graph(EDGE, torch.ones(2, 1, dtype=torch.int64)), Graph(EDGE, torch.ones(2, 2, dtype=torch.int64))]
        )
    with pytest.raises(RecipeError, match="degree"):
        GraphModality(degree=-1)


def test_state_is_json_and_restores():
    modality, other = fitted(), GraphModality()
    other.load_state(json.loads(json.dumps(modality.state())))
    assert other.schema == modality.schema
    assert same(other.state(), modality.state())


def test_large_graphs_can_be_refused():
    with pytest.raises(BadSample, match="5 nodes, the most is 4"):
        fitted([ring(4)], nodes=4).decode(ring(5))


def wl_by_loops(graph, rounds):
    """How often each color stands in a graph, colors being nested tuples (Shervashidze et al. 2011, algorithm 2)."""
    colors = [tuple(row.tolist()) for row in graph.x]
    found = [*colors]
    for _ in range(rounds):
        heard = [[] for _ in colors]
        for (a, b), edge in zip(graph.edge_index.T.tolist(), graph.edge_attr.tolist(), strict=True):
            heard[b].append((colors[a], tuple(edge)))
        colors = [(own, tuple(sorted(near, key=repr))) for own, near in zip(colors, heard, strict=True)]
        found += colors
    return found


def test_weisfeiler_lehman_tells_apart_what_loops_tell_apart():
    batch = sample_batch()
    counts = weisfeiler_lehman(batch, rounds=2, width=1 << 20)
    by_loops = [wl_by_loops(graph, 2) for graph in batch.graphs()]
    assert counts.sum(1).tolist() == [len(found) for found in by_loops]
    assert [int((row > 0).sum()) for row in counts] == [len(set(found)) for found in by_loops]
    assert int((counts.sum(0) > 0).sum()) == len({color for found in by_loops for color in found})


def test_weisfeiler_lehman_does_not_depend_on_the_order_of_nodes():
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
    picture = fitted([ring(5)]).preview(ring(2000))
    assert (picture.mode, picture.size) == ("RGB", (256, 256))
