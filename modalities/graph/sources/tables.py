"""Tables of edges, nodes and graphs as a source.

Letters: N nodes, E edges, F class features, V continuous features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from sensorium import TableReader
from sensorium.errors import DataError
from sensorium.modalities.graph.batch import Graph
from sensorium.modalities.graph.sources.collection import GraphRecord, GraphSource

Format = Literal["csv", "tsv", "jsonl", "parquet"]


class GraphTables(GraphSource):
    """Many graphs out of a table of edges and, if there are any, tables of nodes and of graphs.

    Tables are CSV, TSV, JSON-lines or Parquet files. Columns that have no other use are node and edge features:
    integers and text are classes, other numbers continuous. Nodes are named within their graph; without a table of
    nodes they are those that edges name.

    Args:
        edges: the table with a row for each edge.
        nodes: the table with a row for each node.
        graphs: the table with a row for each graph; without one they are those that edges and nodes name.
        graph: the column, of every table, that names the graph.
        source: the column of edges that names the source node.
        target: the column of edges that names the target node.
        node: the column of nodes that names the node.
        labels: columns of graphs that evaluators predict.
        split: the column of graphs that says train, val or test.
        format: the tables' format; default by their extension.
        field: the field of the graphs.
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
        field: str = "graph",
    ) -> None:
        used = [graph, *(labels or []), *([split] if split else [])]
        edge_table = FeatureTable(edges, [graph, source, target], format=format)
        node_table = FeatureTable(nodes, [graph, node], format=format) if nodes else None
        graph_table = FeatureTable(graphs, used, format=format) if graphs else None
        if graph_table is None and (labels or split):
            raise DataError("Labels and splits are columns of the table of graphs: give data.source.graphs.")
        owners = {part: part.texts(graph) for part in (graph_table, node_table, edge_table) if part is not None}
        names = list(dict.fromkeys(owners[graph_table] if graph_table else np.concatenate(list(owners.values()))))
        if graph_table and len(names) < len(graph_table.table):
            raise DataError(f"'{graphs}' lists a graph twice.")
        edge_rows = _rows_of(owners[edge_table], names, edges)
        node_rows = _rows_of(owners[node_table], names, nodes) if node_table else []
        ends_2E = np.stack([edge_table.texts(source), edge_table.texts(target)])
        node_N = node_table.texts(node) if node_table else np.zeros(0, object)
        found = []
        for i, name in enumerate(names):
            ends_2e = ends_2E[:, edge_rows[i]]
            features = edge_table.features("edge_attr", "edge_values", edge_rows[i])
            known = node_N[node_rows[i]] if node_table else np.unique(ends_2e)
            if node_table:
                features |= node_table.features("x", "values", node_rows[i])
            found.append(GraphRecord(name, Graph(numbered(ends_2e, known, edges), **features, nodes=len(known))))
        if graph_table:
            for row, one in enumerate(found):
                cells = {label: graph_table.table.cell(label, row) for label in labels or ()}
                one.labels = {label: cell for label, cell in cells.items() if cell is not None}
                one.split = graph_table.table.cell(split, row) if split else None
        super().__init__(found, field, f"'{edges}'")


class FeatureTable:
    """A table of nodes, edges or graphs: some columns by name, and all others as features.

    Integers and text are classes (text becomes its index among the sorted values), other numbers continuous features.

    Args:
        path: the file.
        used: the columns that have a use of their own.
        ignored: further columns that are no features.
        format: the file's format; None goes by its extension.

    Attributes:
        classes_NF: int64, the class features of each row.
        values_NV: float64, the continuous features of each row.
    """

    def __init__(
        self, path: str, used: list[str], ignored: list[str] | None = None, format: Format | None = None
    ) -> None:
        file, reader = Path(path).expanduser(), TableReader(format)
        features = [name for name in reader.column_names(file) if name not in (*used, *(ignored or []))]
        self.table = reader.read([file], typed=[*used, *features])
        columns = [self._numbers(name) for name in features]
        self.classes_NF = _stacked([c for c in columns if c.dtype == np.int64], len(self.table), np.int64)
        self.values_NV = _stacked([c for c in columns if c.dtype == np.float64], len(self.table), np.float64)

    def texts(self, name: str) -> np.ndarray:
        """Return a column as names, written alike in tables that store them as text, integers or floats."""
        return np.array(pc.cast(self._full(name, "fill them"), pa.string()).to_pylist(), dtype=object)

    def features(self, classes: str, values: str, rows: np.ndarray) -> dict[str, torch.Tensor | None]:
        """Return the features of some rows, by the names of a graph's parts; None where there is no such column."""
        parts = {classes: self.classes_NF, values: self.values_NV}
        return {name: torch.from_numpy(part[rows]) if part.shape[1] else None for name, part in parts.items()}

    def _full(self, name: str, advice: str) -> pa.Array:
        """Return a column in which no cell is missing."""
        column = self.table.arrow(name).combine_chunks()
        if column.null_count:
            row = self.table.position(pc.index(pc.is_null(column), True).as_py())
            raise DataError(f"The column '{name}' has empty cells, the first in row {row}: {advice}.")
        return column

    def _numbers(self, name: str) -> np.ndarray:
        """Return a column as int64 classes, or as float64 numbers."""
        column = self._full(name, "fill them, or leave the column out")
        if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
            return np.asarray(pc.cast(column, pa.float64()))
        if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
            return np.asarray(pc.cast(column, pa.int64()))
        return np.unique(self.texts(name).astype(str), return_inverse=True)[1].astype(np.int64)


def numbered(ends_2E: np.ndarray, names: np.ndarray, path: str) -> torch.Tensor:
    """Return edges between named nodes as edges between node indices, int64 (2, E)."""
    index = {name: i for i, name in enumerate(names)}
    if len(index) < len(names):
        raise DataError(f"A node of a graph of '{path}' is listed twice.")
    try:
        edges = [[index[name] for name in side] for side in ends_2E]
    except KeyError as unknown:
        raise DataError(f"An edge of '{path}' leads to the node {unknown}, which its graph does not list.") from None
    return torch.tensor(edges, dtype=torch.int64).reshape(2, -1)


def _stacked(columns: list[np.ndarray], rows: int, dtype: type) -> np.ndarray:
    return np.stack(columns, axis=1) if columns else np.zeros((rows, 0), dtype)


def _rows_of(owner_N: np.ndarray, names: list[str], path: str | None) -> list[np.ndarray]:
    """Return the rows of each graph, in order."""
    index = {name: i for i, name in enumerate(names)}
    unknown = [name for name in owner_N if name not in index]
    if unknown:
        raise DataError(f"'{path}' has a row of the graph '{unknown[0]}', which the table of graphs does not list.")
    graph_N = np.array([index[name] for name in owner_N], np.int64)
    return np.split(np.argsort(graph_N, kind="stable"), np.cumsum(np.bincount(graph_N, minlength=len(names)))[:-1])
