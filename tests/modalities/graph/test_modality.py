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
        ({"edge_index": [[0], [7]], "x": [1, 1]}, "names the missing node 7: node indices are from 0 to 1"),
        ({"edge_index": [[0.5], [1]], "x": [1, 1]}, "not integers"),
        ({"edge_index": [[float("nan")], [1]], "x": [1, 1]}, "not integers"),
        ({"edge_index": [[0, 1]], "x": [1, 1]}, r"\(1, 2\), not \(2, e\): it may have to be transposed"),
        ({"edge_index": [[0], [1]], "x": [1j, 1]}, "complex"),
        ({"edge_index": [[0], [1]], "x": [1, 1], "num_nodes": 3}, "x has 2 rows for 3 nodes"),
        ({"edge_index": [[0], [1]], "x": [1, 1], "num_nodes": "two"}, "num_nodes is not"),
        ({"edge_index": [[0], [1]], "num_nodes": 2}, "0 categorical and 0 numeric columns of x"),
        ({"edge_index": [[0], [1]], "x": [[1, 2], [1, 2]]}, "2 categorical and 0 numeric columns of x"),
        ({"edge_index": [[0], [1]], "x": [1, 1], "edge_attr": [1]}, "1 categorical and 0 numeric columns of edge_attr"),
        ({"x": [1, 1]}, "has no edge_index; it has x"),
        ({"edge_index": [[0], [1]], "x": [1.0, float("nan")]}, "non-finite"),
        ({"edge_index": [[0], [1]], "x": [1, 1], "edge_attr": [1, 2]}, "rows"),
        ({"edge_index": [[0], [1]], "x": [[[1]], [[1]]]}, "axes"),
        ({"edge_index": [[0], [1]], "x": [1.5, 1.0]}, "columns of x"),
        ({"edge_index": "no", "x": [1, 1]}, "not an array"),
        ("C1=CC", "there is no file C1=CC"),
        ("a text that is no name of a file " * 200, "there is no file a text .* …"),
        (7, "not int"),
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


def test_fit_needs_readable_graphs():
    with pytest.raises(DataError, match="no readable graph"):
        GraphModality().fit([b"", "x", {"edge_index": np.zeros((2, 0), int)}])
    with pytest.raises(RecipeError, match="max_degree"):
        GraphModality(max_degree=-1)


EDGELESS = [[], np.zeros(0), np.zeros((2, 0)), np.zeros((0, 2), int), torch.zeros(2, 0, dtype=torch.int64)]


@pytest.mark.parametrize("edge_index", EDGELESS)
@pytest.mark.parametrize("edge_attr", [None, [], np.zeros((0, 3)), np.zeros((0, 1), int)])
def test_a_graph_without_edges_needs_no_edge_features(edge_index, edge_attr):
    bond = {"edge_index": [[0], [1]], "x": [1, 2], "edge_attr": [[5, 6]], "edge_values": [0.5]}
    alone = {"edge_index": edge_index, "x": [1], "edge_attr": edge_attr}
    for raws in ([bond, alone, alone], [alone, alone, bond]):
        modality = fitted(raws)
        batch = modality.collate([modality.decode(raw) for raw in raws])
        assert batch.edge_attr.shape == (2, 2)
        assert batch.edge_values.shape == (2, 1)
        assert batch.edge_sizes.sum() == 2


def graph_of(x):
    return {"edge_index": [[0], [1]], "x": x}


def test_integers_in_some_graphs_and_floats_in_others_are_numbers():
    raws = [graph_of([1, 3]), graph_of([0.5, 3.5]), graph_of([2, 2])]
    modality = fitted(raws)
    assert (modality.schema.node_categories, modality.schema.node_values) == ((), 1)
    same_as = fitted([graph_of(np.array(raw["x"], float)) for raw in raws])
    for raw in raws:
        assert same(modality.decode(raw), same_as.decode(raw))
    assert modality.notes(raws)[1:] == ["x is integer in 2 of 3 graphs: read as numbers as in the others"]


def test_whole_floats_among_integers_are_categories():
    raws = [graph_of([1, 3]), graph_of([3.0, 7.0]), graph_of([2, 2])]
    modality = fitted(raws)
    assert modality.schema.node_categories == (5,)
    assert modality.decode(raws[1]).x.tolist() == [[3], [4]]
    assert modality.notes(raws)[1:] == ["x is float in 1 of 3 graphs: read as integers as in the others"]
    with pytest.raises(BadSample, match="x has fractions"):
        modality.decode(graph_of([0.5, 1.0]))


def test_edge_features_are_cast_alike():
    raws = [{"edge_index": [[0], [1]], "x": [1, 1], "edge_attr": [weight]} for weight in (1, 0.5, 2)]
    modality = fitted(raws)
    assert (modality.schema.edge_categories, modality.schema.edge_values) == ((), 1)


def test_a_graph_with_other_features_than_most_is_unreadable_alone():
    few, most = graph_of([[1], [1]]), graph_of([[1, 2], [1, 2]])
    for raws in ([few, most, most], [most, few, most], [most, most, few]):
        modality = fitted(raws)
        assert modality.schema.node_categories == (2, 2)
        with pytest.raises(
            BadSample, match="has 1 categorical and 0 numeric columns of x, those of the train part have 2"
        ):
            modality.decode(few)


def test_a_graph_that_lacks_features_does_not_get_its_degree_in_their_place():
    bare, most = {"edge_index": [[0], [1]]}, graph_of([4, 4])
    modality = fitted([bare, most, most])
    assert modality.schema.node_categories == (2,)
    with pytest.raises(BadSample, match="0 categorical"):
        modality.decode(bare)
    modality = fitted([bare, most, bare])
    assert modality.decode(bare).x.tolist() == [[1], [1]]
    with pytest.raises(BadSample, match="1 categorical"):
        modality.decode(most)


def test_notes_say_which_features_there_are():
    alone = {"edge_index": [], "x": [1]}
    assert fitted([graph_of([1, 2]), alone]).notes([graph_of([1, 2]), alone]) == [
        "node features: 1 categorical and 0 numeric; edge features: none (integers are categories, floats are numbers)",
        "1 of 2 graphs have no edges",
    ]
    bare = {"edge_index": [[0], [1]]}
    assert fitted([bare]).notes([bare, b"no graph"]) == [
        "node features: none, their degree takes the place; edge features: none (integers are categories, floats are "
        "numbers)"
    ]


def test_self_loops_are_kept():
    loop = {"edge_index": [[0, 0], [0, 1]], "x": [1, 1]}
    assert fitted([loop]).decode(loop).edge_index.T.tolist() == [[0, 0], [0, 1], [1, 0]]


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
