"""Edges, nodes and graphs as rows of tables.

Letters: N nodes, E edges, F columns of classes, V columns of numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
import torch

from sensorium.errors import DataError, did_you_mean
from sensorium.modalities.graph.batch import Graph
from sensorium.modalities.graph.sources.collection import GraphSource, Named


class GraphTables(GraphSource):
    """Many graphs out of a table of edges and, if there are any, tables of nodes and of graphs (CSV or Parquet).

    Columns that have no other use are what nodes and edges carry: integers and text are classes, other numbers
    numbers. Nodes are named within their graph; without a table of nodes they are those that edges name.

    Args:
        edges: the table with a row for each edge.
        nodes: the table with a row for each node.
        graphs: the table with a row for each graph; without one they are those that edges and nodes name.
        graph: the column, of every table, that names the graph.
        source: the column of edges that names the node an edge leaves.
        target: the column of edges that names the node it leads to.
        node: the column of nodes that names the node.
        labels: columns of graphs that evaluators predict.
        split: the column of graphs that says train, val or test.
        field: the name under which records carry their graph.
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
        field: str = "graph",
    ) -> None:
        links = Columns(edges, [graph, source, target])
        dots = Columns(nodes, [graph, node]) if nodes else None
        heads = Columns(graphs, [graph, *(labels or []), *([split] if split else [])]) if graphs else None
        if heads is None and (labels or split):
            raise DataError("Labels and splits are columns of the table of graphs: give data.source.graphs.")
        owners = {part: part.texts(graph) for part in (heads, dots, links) if part is not None}
        names = list(dict.fromkeys(owners[heads] if heads else np.concatenate(list(owners.values()))))
        if heads and len(names) < heads.rows:
            raise DataError(f"'{graphs}' lists a graph twice.")
        edge_rows = _rows_of(owners[links], names, edges)
        node_rows = _rows_of(owners[dots], names, nodes) if dots else []
        ends_2E = np.stack([links.texts(source), links.texts(target)])
        called_N = dots.texts(node) if dots else np.zeros(0, object)
        made = []
        for i, name in enumerate(names):
            mine_2e = ends_2E[:, edge_rows[i]]
            carried = links.carried("edge_attr", "edge_values", edge_rows[i])
            known = called_N[node_rows[i]] if dots else np.unique(mine_2e)
            if dots:
                carried |= dots.carried("x", "values", node_rows[i])
            made.append(Named(name, Graph(numbered(mine_2e, known, edges), **carried, nodes=len(known))))
        if heads:
            for row, one in enumerate(made):
                found = {label: heads.cell(label, row) for label in labels or ()}
                one.labels = {label: value for label, value in found.items() if value is not None}
                one.split = heads.cell(split, row) if split else None
        super().__init__(made, field, f"'{edges}'")


class Columns:
    """A table: some columns by name, and the others as what its rows carry.

    Args:
        path: a CSV or Parquet file.
        used: the columns that have a use of their own.
        ignored: further columns that are not carried.
    """

    def __init__(self, path: str, used: list[str], ignored: list[str] | None = None) -> None:
        file = Path(path).expanduser()
        try:
            read = pa.parquet.read_table if file.suffix in (".parquet", ".pq") else pa.csv.read_csv
            self._table: pa.Table = read(file)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"'{path}' cannot be read: {str(error).splitlines()[0]}.") from error
        for name in used:
            if name not in self._table.column_names:
                raise DataError(
                    f"'{path}' has no column '{name}'{did_you_mean(name, self._table.column_names)}; "
                    f"its columns are: {', '.join(self._table.column_names)}."
                )
        self._path, self.rows = path, self._table.num_rows
        rest = [name for name in self._table.column_names if name not in (*used, *(ignored or []))]
        kinds = {name: self._numbers(name) for name in rest}
        self.classes_NF = _stacked([k for k in kinds.values() if k.dtype == np.int64], self.rows, np.int64)
        self.values_NV = _stacked([k for k in kinds.values() if k.dtype == np.float64], self.rows, np.float64)

    def texts(self, name: str) -> np.ndarray:
        """Return a column as names, whatever they are written as."""
        column = pc.cast(self._table[name], pa.string())
        if column.null_count:
            raise DataError(f"The column '{name}' of '{self._path}' has empty cells.")
        return np.array(column.to_pylist(), dtype=object)

    def cell(self, name: str, row: int) -> Any:
        """Return one cell, None where it is empty."""
        found = self._table[name][row].as_py()
        return None if found == "" else found

    def column(self, name: str) -> list[Any]:
        """Return the cells of a column, None where one is empty."""
        return [None if found == "" else found for found in self._table[name].to_pylist()]

    def carried(self, classes: str, values: str, rows: np.ndarray) -> dict[str, torch.Tensor | None]:
        """Return what some rows carry, by the names of a graph's parts; None for what there is no column of."""
        parts = {classes: self.classes_NF, values: self.values_NV}
        return {name: torch.from_numpy(part[rows]) if part.shape[1] else None for name, part in parts.items()}

    def _numbers(self, name: str) -> np.ndarray:
        """Return a column as int64 classes, or float64 numbers; text becomes the place among its sorted values."""
        column = self._table[name].combine_chunks()
        if column.null_count:
            raise DataError(
                f"The column '{name}' of '{self._path}' has empty cells: fill them, or leave the column out."
            )
        if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
            return np.asarray(pc.cast(column, pa.float64()))
        if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
            return np.asarray(pc.cast(column, pa.int64()))
        return np.unique(self.texts(name).astype(str), return_inverse=True)[1].astype(np.int64)


def numbered(ends_2E: np.ndarray, names: np.ndarray, path: str) -> torch.Tensor:
    """Return edges between named nodes as edges between their places, int64 (2, E)."""
    place = {name: i for i, name in enumerate(names)}
    if len(place) < len(names):
        raise DataError(f"A node of a graph of '{path}' is listed twice.")
    try:
        found = [[place[name] for name in side] for side in ends_2E]
    except KeyError as lost:
        raise DataError(f"An edge of '{path}' leads to the node {lost}, which its graph does not list.") from None
    return torch.tensor(found, dtype=torch.int64).reshape(2, -1)


def _stacked(columns: list[np.ndarray], rows: int, dtype: type) -> np.ndarray:
    return np.stack(columns, axis=1) if columns else np.zeros((rows, 0), dtype)


def _rows_of(owner_N: np.ndarray, names: list[str], path: str | None) -> list[np.ndarray]:
    """Return the rows of each graph, in order."""
    place = {name: i for i, name in enumerate(names)}
    lost = [name for name in owner_N if name not in place]
    if lost:
        raise DataError(f"'{path}' has a row of the graph '{lost[0]}', which the table of graphs does not list.")
    graph_N = np.array([place[name] for name in owner_N], np.int64)
    return np.split(np.argsort(graph_N, kind="stable"), np.cumsum(np.bincount(graph_N, minlength=len(names)))[:-1])
