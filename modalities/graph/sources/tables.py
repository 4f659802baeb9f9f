"""Tables of edges, nodes and graphs as a source.

Letters: N nodes, E edges, F categorical features, V numeric features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from sensorium import TableReader, Unreadable
from sensorium.errors import DataError, as_clause
from sensorium.modalities.graph.batch import Graph
from sensorium.modalities.graph.sources.collection import GraphRecord, GraphSource

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
        names = list(dict.fromkeys(graph_ids[graph_table] if graph_table else np.concatenate(list(graph_ids.values()))))
        if graph_table and len(names) < len(graph_table.table):
            raise DataError(f"'{graphs}' lists a graph twice.")
        self._notes: list[str] = []
        edge_rows = self._rows_of(graph_ids[edge_table], names, edges)
        node_rows = self._rows_of(graph_ids[node_table], names, str(nodes)) if node_table else []
        ends_2E = np.stack([edge_table.texts(source), edge_table.texts(target)])
        node_N = node_table.texts(node) if node_table else np.zeros(0, object)
        found = []
        for i, name in enumerate(names):
            ends_2e = ends_2E[:, edge_rows[i]]
            features = edge_table.features("edge_attr", "edge_values", edge_rows[i])
            known = node_N[node_rows[i]] if node_table else np.unique(ends_2e)
            if node_table:
                features |= node_table.features("x", "values", node_rows[i])
            tables = [(edge_table, edge_rows[i]), *([(node_table, node_rows[i])] if node_table else [])]
            value: Graph | Unreadable | None = next(
                filter(None, (part.empty_cell(rows) for part, rows in tables)), None
            )
            if value is None:
                try:
                    value = Graph(edge_index_of(ends_2e, known, edges), **features, num_nodes=len(known))
                except DataError as error:
                    value = Unreadable(as_clause(str(error)), where=edges)
            found.append(GraphRecord(name, value))
        if graph_table:
            for row, one in enumerate(found):
                cells = {label: graph_table.table.cell(label, row) for label in labels or ()}
                one.labels = {label: cell for label, cell in cells.items() if cell is not None}
                one.split = graph_table.table.cell(split, row) if split else None
        super().__init__(found, field, f"'{edges}'")

    def _rows_of(self, graph_id_N: np.ndarray, names: list[str], path: str) -> list[np.ndarray]:
        """Return the rows of each graph, in order; note those of graphs that are not listed."""
        index = {name: i for i, name in enumerate(names)}
        graph_N = np.array([index.get(name, len(names)) for name in graph_id_N], np.int64)
        unlisted = dict.fromkeys(graph_id_N[graph_N == len(names)])
        if unlisted:
            self._notes.append(
                f"'{path}' has rows of {len(unlisted)} graphs that the table of graphs does not list, such as "
                f"'{next(iter(unlisted))}': they are left out"
            )
        sizes = np.bincount(graph_N, minlength=len(names) + 1)
        return np.split(np.argsort(graph_N, kind="stable"), np.cumsum(sizes)[:-1])[: len(names)]

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

    def features(self, categorical: str, numeric: str, rows: np.ndarray) -> dict[str, torch.Tensor | None]:
        """Return the features of some rows, by the names of `Graph`; None where there is no such column."""
        parts = {categorical: self.categories_NF, numeric: self.values_NV}
        return {name: torch.from_numpy(part[rows]) if part.shape[1] else None for name, part in parts.items()}

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


def edge_index_of(ends_2E: np.ndarray, names: np.ndarray, path: str) -> torch.Tensor:
    """Return edges between node ids as edges between node indices, int64 (2, E)."""
    index = {name: i for i, name in enumerate(names)}
    if len(index) < len(names):
        raise DataError(f"A graph of '{path}' lists a node twice.")
    try:
        edges = [[index[name] for name in side] for side in ends_2E]
    except KeyError as unknown:
        raise DataError(f"An edge of '{path}' names the node {unknown}, which its graph does not list.") from None
    return torch.tensor(edges, dtype=torch.int64).reshape(2, -1)


def _stacked(columns: list[np.ndarray], rows: int, dtype: type) -> np.ndarray:
    return np.stack(columns, axis=1) if columns else np.zeros((rows, 0), dtype)
