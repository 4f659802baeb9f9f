"""Tables of edges, nodes and graphs as a source.

Letters: N nodes, E edges, F categorical features, V numeric features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium import RecordColumns, TableReader, Unreadable
from sensorium.errors import DataError
from sensorium.modalities.graph.sources.collection import Graphs, GraphSource

Format = Literal["csv", "tsv", "jsonl", "parquet"]


class GraphTables(GraphSource):
    """Many graphs, from a table of edges and optional tables of nodes and of graphs.

    Tables are CSV, TSV, JSON-lines or Parquet files. Columns without another use are node and edge features: integers
    and text are categorical, other numbers numeric. Node ids are unique within their graph; without a node table, nodes
    are those of the edges. A graph with an edge to a node that it does not list, a node listed twice or an empty
    feature is unreadable; the others are read.

    Args:
        edges: path of the table with one row per edge.
        nodes: path of the table with one row per node.
        graphs: path of the table with one row per graph; without one, graphs are those of the edges and nodes.
        graph: column of every table, the graph id.
        source: column of the edge table, the id of an edge's source node.
        target: column of the edge table, the id of an edge's target node.
        node: column of the node table, the node id.
        labels: columns of the graph table that become labels.
        split: column of the graph table with "train", "val" or "test".
        format: format of the tables; None goes by the file extension.
        delimiter: the character between the cells of a CSV file, such as ";"; default ",".
        encoding: of a CSV, TSV or JSON-lines file without a byte-order mark, such as cp1252; default utf-8.
        field: field name of the graph in the records.
    """

    def __init__(
        self,
        edges: str,
        nodes: str | None = None,
        graphs: str | None = None,
        graph: str = "graph",
        source: str = "source",
        target: str = "target",
        node: str = "node",
        labels: list[str] | None = None,
        split: str | None = None,
        format: Format | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        field: str = "graph",
    ) -> None:
        reader = TableReader(format, delimiter, encoding=encoding)
        used = [graph, *(labels or []), *([split] if split else [])]
        edge_table = FeatureColumns(reader, edges, [graph, source, target])
        node_table = FeatureColumns(reader, nodes, [graph, node]) if nodes else None
        graph_table = FeatureColumns(reader, graphs, used) if graphs else None
        if graph_table is None and (labels or split):
            raise DataError("Labels and splits are columns of the table of graphs: give data.source.graphs.")
        graph_ids = {part: part.texts(graph) for part in (graph_table, node_table, edge_table) if part is not None}
        listed = graph_ids[graph_table] if graph_table else np.concatenate(list(graph_ids.values()))
        names = pa.array(listed, pa.string()).unique()
        if graph_table and len(names) < len(listed):
            raise DataError(f"'{graphs}' lists a graph twice.")
        self._notes: list[str] = []
        edge_rows, edge_graph_E = self._rows_of(graph_ids[edge_table], names, edges)
        ends_2E = np.stack([edge_table.texts(source), edge_table.texts(target)])[:, edge_rows]
        if node_table:
            node_rows, node_graph_N = self._rows_of(graph_ids[node_table], names, str(nodes))
            node_N = node_table.texts(node)[node_rows]
        else:  # the nodes of each graph's edges, sorted
            node_graph_N, node_N = _distinct(np.tile(edge_graph_E, 2), ends_2E.reshape(-1))
        edges_2E, faults = _numbered_within(ends_2E, edge_graph_E, node_N, node_graph_N, edges)
        tables = [(edge_table, edge_rows, edge_graph_E)]
        tables += [(node_table, node_rows, node_graph_N)] if node_table else []
        for part, rows, graph_of_rows in reversed(tables):
            faults |= part.empty_cells(rows, graph_of_rows)
        value = Graphs(
            edges_2E,
            np.bincount(node_graph_N, minlength=len(names)),
            np.bincount(edge_graph_E, minlength=len(names)),
            node_table.features("x", "values", node_rows) if node_table else {},
            edge_table.features("edge_attr", "edge_values", edge_rows),
            faults,
        )
        of_labels, of_split = {}, None
        if graph_table:
            of_labels = {label: graph_table.table.plain(label) for label in labels or ()}
            of_split = graph_table.table.plain(split, "split").cast(pa.string()) if split else None
        super().__init__(value, RecordColumns(len(names), names, of_labels, of_split), field, f"'{edges}'")

    def _rows_of(self, graph_id_N: np.ndarray, names: pa.Array, path: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of all graphs, ordered by graph, and their graphs; note graphs that are not listed."""
        ids = pa.array(graph_id_N, pa.string())
        graph_N = pc.fill_null(pc.index_in(ids, value_set=names), len(names)).to_numpy(zero_copy_only=False)
        unlisted = ids.filter(pa.array(graph_N == len(names))).unique()
        if len(unlisted):
            self._notes.append(
                f"'{path}' has rows of {len(unlisted)} graphs that the table of graphs does not list, such as "
                f"'{unlisted[0]}': they are left out"
            )
        order_N = np.argsort(graph_N, kind="stable")
        rows = order_N[: int((graph_N < len(names)).sum())]
        return rows, graph_N[rows].astype(np.int64)

    def notes(self) -> list[str]:
        """Say which rows are left out."""
        return self._notes


class FeatureColumns:
    """A table of nodes, edges or graphs: some columns by name, and all others as features.

    Integers and text are categorical features (text becomes its index among the sorted values), other numbers numeric.

    Args:
        reader: how it is read.
        path: the file.
        used: the columns that are no features because they have another use.
        ignored: further columns that are no features.

    Attributes:
        categories_NF: int64, categorical features of each row.
        values_NV: float64, numeric features of each row.
        empty_N: the first feature column that is empty in a row, "" in most: (N,).
    """

    def __init__(self, reader: TableReader, path: str, used: list[str], ignored: list[str] | None = None) -> None:
        file = Path(path).expanduser()
        features = [name for name in reader.column_names(file) if name not in (*used, *(ignored or []))]
        self.table = reader.read([file], typed=[*used, *features])
        self.empty_N = np.full(len(self.table), "", object)
        columns = [self._numbers(name) for name in features]
        self.categories_NF = _stacked([c for c in columns if c.dtype == np.int64], len(self.table), np.int64)
        self.values_NV = _stacked([c for c in columns if c.dtype == np.float64], len(self.table), np.float64)

    def texts(self, name: str) -> np.ndarray:
        """Return a column as text, the same for ids stored as text, integers or floats."""
        return np.array(pc.cast(self._ids(name), pa.string()).to_pylist(), dtype=object)

    def features(self, categorical: str, numeric: str, rows: np.ndarray) -> dict[str, np.ndarray | None]:
        """Return the features of some rows, by the names of `Graph`; None where there is no such column."""
        parts = {categorical: self.categories_NF, numeric: self.values_NV}
        return {name: part[rows] if part.shape[1] else None for name, part in parts.items()}

    def empty_cell(self, rows: np.ndarray) -> Unreadable | None:
        """Return the first of some rows in which a feature is empty, as a fault."""
        found = [row for row in rows.tolist() if self.empty_N[row]]
        if not found:
            return None
        row, column = found[0], self.empty_N[found[0]]
        if (row, column) in self.table.unreadable:
            return self.table.unreadable[row, column]
        where = self.table.where(row, column)
        return Unreadable(f"the feature '{column}' is empty: fill it, or leave the column out", "empty", where)

    def empty_cells(self, rows: np.ndarray, group_R: np.ndarray) -> dict[int, Unreadable]:
        """Return the groups of rows in which a feature is empty, and the first fault of each.

        Args:
            rows: (R,).
            group_R: the number of each row's group.
        """
        is_empty_R = self.empty_N[rows] != ""
        groups, firsts = np.unique(group_R[is_empty_R], return_index=True)
        faults = [self.empty_cell(rows[is_empty_R][first : first + 1]) for first in firsts.tolist()]
        return {group: fault for group, fault in zip(groups.tolist(), faults, strict=True) if fault is not None}

    def require_full(self) -> None:
        """Raise `DataError` when a feature is empty in any row."""
        fault = self.empty_cell(np.arange(len(self.table)))
        if fault is not None:
            raise DataError(f"A graph cannot be read: {fault.reason} ({fault.where}).")

    def _ids(self, name: str) -> pa.Array:
        """Return a column of ids; raise `DataError` when a cell is missing."""
        self.table.check_readable(name)
        column = self.table.arrow(name).combine_chunks()
        if column.null_count:
            row = self.table.position(pc.index(pc.is_null(column), True).as_py())
            raise DataError(f"The column '{name}' has empty cells, the first in row {row}: fill them.")
        return column

    def _numbers(self, name: str) -> np.ndarray:
        """Return a column as int64 categories, or as float64 numbers; empty cells are noted."""
        column = self.table.arrow(name).combine_chunks()
        is_number = pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)
        if is_number or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
            self._note_empty(name, np.asarray(pc.is_null(column)))
            return np.asarray(pc.fill_null(pc.cast(column, pa.float64() if is_number else pa.int64()), 0))
        texts_N = np.array(pc.fill_null(pc.cast(column, pa.string()), "").to_pylist(), dtype=str)
        is_empty_N = texts_N == ""
        self._note_empty(name, is_empty_N)
        rows_N = np.zeros(len(texts_N), np.int64)
        rows_N[~is_empty_N] = np.unique(texts_N[~is_empty_N], return_inverse=True)[1]
        return rows_N

    def _note_empty(self, name: str, is_empty_N: np.ndarray) -> None:
        self.empty_N[is_empty_N & (self.empty_N == "")] = name


def edge_index_of(ends_2E: np.ndarray, names: np.ndarray, path: str) -> np.ndarray:
    """Return edges between the node ids of one graph as edges between node indices, int64 (2, E)."""
    of_one = [np.zeros(count, np.int64) for count in (ends_2E.shape[1], len(names))]
    edges_2E, faults = _numbered_within(ends_2E, of_one[0], names, of_one[1], path)
    for fault in faults.values():
        raise DataError(f"{fault.reason[0].upper()}{fault.reason[1:]}.")
    return edges_2E


def _numbered_within(
    ends_2E: np.ndarray, edge_graph_E: np.ndarray, node_N: np.ndarray, node_graph_N: np.ndarray, path: str
) -> tuple[np.ndarray, dict[int, Unreadable]]:
    """Return edges between node ids as edges between nodes' numbers within their graph, and the graphs with a fault.

    Args:
        ends_2E: ids of sources and targets.
        edge_graph_E: the number of each edge's graph, ascending.
        node_N: the id of each node.
        node_graph_N: the number of each node's graph, ascending.
        path: of the edges, for the faults.

    Returns:
        int64 (2, E), 0 for a node that is not listed; the number of a graph -> what is wrong.
    """
    nodes = _with_graph(node_graph_N, node_N)
    at_2E = np.stack(
        [pc.fill_null(pc.index_in(_with_graph(edge_graph_E, end_E), value_set=nodes), -1) for end_E in ends_2E]
    ).astype(np.int64)
    faults: dict[int, Unreadable] = {}
    for end_E, at_E in zip(ends_2E, at_2E, strict=True):
        for edge in _first_of_each(edge_graph_E, at_E < 0):
            reason = f"an edge of '{path}' names the node {end_E[edge]!r}, which its graph does not list"
            faults.setdefault(int(edge_graph_E[edge]), Unreadable(reason, where=path))
    is_again_N = np.ones(len(nodes), bool)
    is_again_N[np.unique(nodes.dictionary_encode().indices, return_index=True)[1]] = False
    for node in _first_of_each(node_graph_N, is_again_N):
        faults[int(node_graph_N[node])] = Unreadable(f"a graph of '{path}' lists a node twice", where=path)
    first_N = np.searchsorted(node_graph_N, node_graph_N)
    within_N = np.append(np.arange(len(nodes)) - first_N, 0)
    return within_N[at_2E], faults


def _with_graph(graph_N: np.ndarray, text_N: np.ndarray) -> pa.Array:
    """Return texts behind the number of their graph: each then is of its graph alone."""
    return pc.binary_join_element_wise(pa.array(graph_N).cast(pa.string()), pa.array(text_N, pa.string()), ":")


def _distinct(graph_N: np.ndarray, text_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct texts of each graph: their graphs, ascending, and the texts, sorted within a graph."""
    found = pa.table({"graph": pa.array(graph_N), "text": pa.array(text_N, pa.string())})
    found = found.group_by(["graph", "text"]).aggregate([]).sort_by([("graph", "ascending"), ("text", "ascending")])
    return found["graph"].to_numpy(), found["text"].to_numpy()


def _first_of_each(group_N: np.ndarray, chosen_N: np.ndarray) -> list[int]:
    """Return the first chosen row of each group, of rows that are ordered by group."""
    rows = np.flatnonzero(chosen_N)
    return rows[np.unique(group_N[rows], return_index=True)[1]].tolist()


def _stacked(columns: list[np.ndarray], rows: int, dtype: type) -> np.ndarray:
    return np.stack(columns, axis=1) if columns else np.zeros((rows, 0), dtype)
