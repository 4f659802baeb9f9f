import shutil

import numpy as np
import pytest

from sensorium.errors import DataError, RecipeError
from sensorium.modalities.graph.sources.neighborhoods import Karate, Neighbors, Nodes, StochasticBlocks
from sensorium.modalities.graph.sources.tables import GraphTables
from sensorium.modalities.graph.sources.tu import TU
from sensorium.testing.equality import same
from tests.modalities.graph.sources.files import write_edge_tables, write_node_tables, write_tu


def test_tu_folder_gives_graphs_with_features(tmp_path):
    source = TU(str(write_tu(tmp_path)))
    assert [source.key(i).labels for i in range(3)] == [
        {"class": 1, "target": 0.5},
        {"class": -1, "target": 1.5},
        {"class": 1, "target": 2.5},
    ]
    first, second, third = (source[i].values["graph"] for i in range(3))
    assert first.edge_index.tolist() == [[0, 1, 0, 2], [1, 0, 2, 0]]
    assert first.x.tolist() == [[5], [6], [8]]
    assert first.values.tolist() == [[1, 2], [3, 4], [2, 2]]
    assert first.edge_attr.tolist() == [[0], [0], [2], [2]]
    assert second.x.tolist() == [[5], [5]]
    assert (len(third), third.edge_index.shape) == (1, (2, 0))


def test_tu_zip_equals_its_folder(tmp_path):
    folder = write_tu(tmp_path)
    archive = shutil.make_archive(str(tmp_path / "tiny"), "zip", tmp_path, "TINY")
    one, other = TU(str(folder)), TU(archive)
    assert same([one[i] for i in range(3)], [other[i] for i in range(3)])


def test_tu_without_edges_or_attributes(tmp_path):
    source = TU(str(write_tu(tmp_path, A="", edge_labels=None)), attributes=False)
    assert source[0].values["graph"].values is None
    assert source[0].values["graph"].edge_index.shape == (2, 0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"graph_indicator": None}, "lacks its file TINY_graph_indicator.txt"),
        ({"A": "1, 3\n"}, "joins nodes of different graphs"),
        ({"A": "1, 9\n"}, "does not list"),
        ({"A": "0, 1\n"}, "does not list"),
        ({"node_labels": "1\n2\n"}, "2 lines for 6 nodes"),
        ({"graph_labels": "1\n"}, "1 lines for 3 graphs"),
        ({"A": "1, x\n"}, "cannot be read"),
    ],
)
def test_inconsistent_tu_files_are_refused(tmp_path, changes, sentence):
    with pytest.raises(DataError, match=sentence):
        TU(str(write_tu(tmp_path, **changes)))


def test_a_path_without_a_tu_data_set_is_refused(tmp_path):
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        TU(str(tmp_path / "nothing.zip"))
    with pytest.raises(DataError, match="holds 0 files"):
        TU(str(tmp_path))


def test_tables_give_graphs_with_features(tmp_path):
    source = GraphTables(**write_edge_tables(tmp_path))
    assert [(source.key(i).id, source.key(i).labels, source.key(i).split) for i in range(3)] == [
        ("a", {"kind": "u"}, "train"),
        ("b", {"kind": "v"}, "test"),
        ("c", {}, "train"),
    ]
    a, b, c = (source[i].values["graph"] for i in range(3))
    assert a.edge_index.tolist() == [[0, 1], [1, 2]]
    assert (a.x.tolist(), a.values.tolist()) == ([[1], [0], [1]], [[1.0], [2.0], [3.0]])
    assert (a.edge_attr.tolist(), b.edge_attr.tolist(), b.edge_values.tolist()) == ([[0], [1]], [[0]], [[2.5]])
    assert (len(c), c.edge_index.shape) == (1, (2, 0))


def test_an_edge_table_is_enough(tmp_path):
    write_edge_tables(tmp_path)
    source = GraphTables(str(tmp_path / "edges.csv"))
    assert [(source.key(i).id, len(source[i].values["graph"])) for i in range(2)] == [("a", 3), ("b", 2)]


def test_inconsistent_tables_are_refused(tmp_path):
    options = write_edge_tables(tmp_path)
    with pytest.raises(DataError, match="no column 'from'"):
        GraphTables(**options, source="from")
    with pytest.raises(DataError, match="does not exist"):
        GraphTables(str(tmp_path / "none.csv"))
    broken = write_edge_tables(tmp_path)
    (tmp_path / "nodes.csv").write_text("graph,node,size\na,1,2.0\na,2,\n")
    with pytest.raises(DataError, match=r"column 'size' has empty cells, the first in row 2 of '.*nodes\.csv'"):
        GraphTables(**broken)
    (tmp_path / "nodes.csv").write_text("graph,node\na,1\na,2\nb,p\nb,q\nd,1\n")
    with pytest.raises(DataError, match="a row of the graph 'd'"):
        GraphTables(**options)
    (tmp_path / "nodes.csv").write_text("graph,node\na,1\na,2\nb,p\nb,q\n")
    with pytest.raises(DataError, match="names the node '3'"):
        GraphTables(**options)


def test_a_large_fanout_gives_the_whole_k_hop_neighborhood():
    path = Neighbors(np.array([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]]), 7)
    nodes, edges = path.sample(2, (5, 5), seed=0)
    assert nodes[0] == 2
    assert sorted(nodes.tolist()) == [0, 1, 2, 3, 4]
    assert {tuple(nodes[pair]) for pair in edges.T} == {(a, b) for a in range(5) for b in range(5) if abs(a - b) == 1}
    alone, none = path.sample(6, (5, 5), seed=0)
    assert (alone.tolist(), none.shape) == ([6], (2, 0))


def test_the_fanout_bounds_the_neighborhood_of_a_hub():
    star = Neighbors(np.stack([np.zeros(1000, np.int64), np.arange(1, 1001)]), 1001)
    for node in (0, 5):
        nodes, edges = star.sample(node, (4, 4), seed=1)
        assert len(nodes) <= 1 + 4 + 16
        assert edges.shape[1] <= 2 * (4 + 16)
        assert same([nodes, edges], list(star.sample(node, (4, 4), seed=1)))
    assert not same(star.sample(0, (4,), seed=1), star.sample(0, (4,), seed=2))


def test_a_record_of_a_node_has_it_first(tmp_path):
    source = Nodes(**write_node_tables(tmp_path), fanout=(2,))
    record = source[3]
    assert (record.id, record.labels) == ("n3", {"side": 1})
    assert record.values["graph"].values[:, 0].tolist() == [3.5, 2.5, 4.5]
    few = Nodes(**write_node_tables(tmp_path), fanout=(2,), records=2)
    assert len(few) == 2
    assert few[0].id in {f"n{i}" for i in range(6)}
    with pytest.raises(RecipeError, match="at least one neighbor"):
        Nodes(**write_node_tables(tmp_path), fanout=(0,))


def test_stochastic_blocks_have_the_expected_degrees():
    source = StochasticBlocks(nodes=3000, classes=3, inside=6, outside=3, fanout=(99,))
    classes = np.array([source.key(i).labels["class"] for i in range(3000)])
    near = [source._neighbors.sample(i, (99,), 0)[0] for i in range(300)]
    inside = np.mean([(classes[nodes[1:]] == classes[nodes[0]]).sum() for nodes in near])
    outside = np.mean([(classes[nodes[1:]] != classes[nodes[0]]).sum() for nodes in near])
    assert abs(inside - 6) < 0.5
    assert abs(outside - 3) < 0.4


def test_karate_club_has_34_members():
    source = Karate()
    assert len(source) == 34
    assert len({source.key(i).labels["community"] for i in range(34)}) == 4
