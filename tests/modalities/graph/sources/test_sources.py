import shutil

import numpy as np
import pytest

from sensorium import Unreadable
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
        ({"A": "1, 2\n2, 1\n3, 4\n4, 3\n1, 6\n0, 9\n"}, "Line 6 of TINY_A.txt: the edge 0, 9 names node 0"),
        ({"node_labels": "1\n2\n"}, "2 lines for 6 nodes"),
        ({"graph_labels": "1\n"}, "1 lines for 3 graphs"),
        ({"A": "1, x\n"}, "cannot be read"),
    ],
)
def test_inconsistent_tu_files_are_refused(tmp_path, changes, sentence):
    with pytest.raises(DataError, match=sentence):
        TU(str(write_tu(tmp_path, **changes)))


@pytest.mark.parametrize(
    ("edge", "reason", "unreadable"),
    [
        ("1, 3", "the edge 1, 3 joins nodes of different graphs", [0, 1]),
        ("1, 9", "the edge 1, 9 names node 9, which TINY_graph_indicator.txt does not list", [0]),
        ("0, 4", "the edge 0, 4 names node 0, which TINY_graph_indicator.txt does not list", [1]),
    ],
)
def test_a_faulty_edge_of_tu_files_costs_its_own_graphs(tmp_path, edge, reason, unreadable):
    source = TU(str(write_tu(tmp_path, A=f"1, 2\n2, 1\n{edge}\n4, 3\n1, 6\n6, 1\n")))
    values = [source[i].values["graph"] for i in range(3)]
    assert [i for i, value in enumerate(values) if isinstance(value, Unreadable)] == unreadable
    fault = values[unreadable[0]]
    assert (fault.reason, str(fault.where)) == (reason, "TINY_A.txt, line 3")
    assert source.key(0).labels == {"class": 1, "target": 0.5}
    if 1 not in unreadable:
        assert values[1].edge_index.tolist() == [[1], [0]]
        assert values[1].edge_attr.tolist() == [[1]], "features of the other edges stay with them"


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


@pytest.mark.parametrize("has_nodes", [True, False])
def test_rows_in_any_order_are_the_graphs_that_a_loop_over_them_finds(tmp_path, has_nodes):
    rng = np.random.default_rng(0)
    graphs = [f"g{i}" for i in rng.permutation(12)]
    nodes = [(graph, f"{rng.integers(10)}{k}", rng.random()) for graph in graphs for k in range(rng.integers(1, 6))]
    nodes = [nodes[i] for i in rng.permutation(len(nodes))]
    of = {graph: [name for its, name, _ in nodes if its == graph] for graph in graphs}
    edges = [(graph, rng.choice(of[graph]), rng.choice(of[graph]), rng.integers(3)) for graph in rng.choice(graphs, 40)]
    write(tmp_path / "edges.csv", "graph,source,target,kind", edges)
    write(tmp_path / "nodes.csv", "graph,node,size", nodes)
    source = GraphTables(str(tmp_path / "edges.csv"), str(tmp_path / "nodes.csv") if has_nodes else None)
    assert len(source) == len(graphs if has_nodes else {graph for graph, *_ in edges})
    for record in source:
        ends = [(a, b) for graph, a, b, _ in edges if graph == record.id]
        names = of[record.id] if has_nodes else sorted({end for pair in ends for end in pair})
        graph = record.values["graph"]
        assert len(graph) == len(names)
        assert graph.edge_index.T.tolist() == [[names.index(a), names.index(b)] for a, b in ends]
        if ends:
            assert graph.edge_attr[:, 0].tolist() == [kind for of_graph, *_, kind in edges if of_graph == record.id]
        if has_nodes:
            assert graph.values[:, 0].tolist() == [size for of_graph, _, size in nodes if of_graph == record.id]


def write(path, heading, rows):
    path.write_text("\n".join([heading, *(",".join(map(str, row)) for row in rows)]) + "\n")


def test_inconsistent_tables_are_refused(tmp_path):
    options = write_edge_tables(tmp_path)
    with pytest.raises(DataError, match="no column 'from'"):
        GraphTables(**options, source="from")
    with pytest.raises(DataError, match="does not exist"):
        GraphTables(str(tmp_path / "none.csv"))


def test_a_faulty_row_costs_its_own_graph(tmp_path):
    options = write_edge_tables(tmp_path)
    (tmp_path / "nodes.csv").write_text(
        "graph,node,color,size\na,1,red,1.0\na,2,blue,2.0\nb,p,red,\nb,q,,5.0\nc,z,blue,6.0\nd,1,red,1.0\n"
    )
    source = GraphTables(**options)
    a, b, c = (source[i].values["graph"] for i in range(3))
    assert "names the node '3', which its graph does not list" in a.reason
    assert (b.reason, b.kind) == ("the feature 'size' is empty: fill it, or leave the column out", "empty")
    assert str(b.where) == f"{tmp_path / 'nodes.csv'}, line 4, column 'size'"
    assert (c.x.tolist(), c.values.tolist()) == ([[0]], [[6.0]]), "an empty cell is no category"
    (note,) = source.notes()
    assert (
        "nodes.csv' has rows of 1 graphs that the table of graphs does not list, such as 'd': they are left out" in note
    )
    (tmp_path / "nodes.csv").write_text("graph,node\na,1\na,1\nb,p\nb,q\nc,z\n")
    assert "lists a node twice" in GraphTables(**options)[0].values["graph"].reason


def test_one_large_graph_needs_all_of_its_features(tmp_path):
    options = write_node_tables(tmp_path)
    (tmp_path / "people.csv").write_text("node,age,side\n" + "\n".join(f"n{i},,{i % 2}" for i in range(6)) + "\n")
    with pytest.raises(DataError, match=r"the feature 'age' is empty.*people.csv, line 2, column 'age'"):
        Nodes(**options)


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
