"""Data sets in the format of the TU Dortmund collection (TUDataset, Morris et al. 2020).

Plain text: NAME_A.txt has a line "source, target" for each edge, nodes numbered from 1 over all graphs; line n of
NAME_graph_indicator.txt is the graph of node n. NAME_graph_labels, _graph_attributes, _node_labels, _node_attributes,
_edge_labels and _edge_attributes are optional.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium import Location, RecordColumns, Unreadable
from sensorium.errors import DataError
from sensorium.modalities.graph.sources.collection import Graphs, GraphSource

Read = Callable[[str, type], "np.ndarray | None"]


class TU(GraphSource):
    """TUDataset: a folder of the raw text files of a TU data set, or the zip file in which it is distributed.

    Record ids are "NAME/number". Graph labels are the label "class"; graph attributes are the regression label
    "target", or "target-0", "target-1" and so on where there are several. Node and edge labels are categorical
    features, node and edge attributes numeric features. A graph with an edge to a node of another graph, or to none, is
    unreadable; the others are read.

    Args:
        path: the folder or the zip file.
        attributes: read node and edge attributes too; most published results use the labels alone.
        field: field name of the graph in the records.
    """

    def __init__(self, path: str, attributes: bool = True, field: str = "graph") -> None:
        name, read_file = _opened(Path(path).expanduser())

        def read(part: str, dtype: type) -> np.ndarray | None:
            skipped = part in ("node_attributes", "edge_attributes") and not attributes
            return None if skipped else read_file(part, dtype)

        graphs = graphs_of(name, read)
        ids = pc.binary_join_element_wise(name, pa.array(np.arange(len(graphs))).cast(pa.string()), "/")
        super().__init__(graphs, RecordColumns(len(graphs), ids, _labels(name, read, len(graphs))), field, f"'{path}'")


def graphs_of(name: str, read: Read) -> Graphs:
    """Return the graphs of a data set.

    Args:
        name: of the data set.
        read: `read(part, type)` returns the array (rows, columns) of a file, None where there is none.
    """
    edges_E2, owner_N1 = read("A", np.int64), read("graph_indicator", np.int64)
    if edges_E2 is None or owner_N1 is None:
        raise DataError(
            f"The data set '{name}' lacks its file {name}_{'A' if edges_E2 is None else 'graph_indicator'}.txt."
        )
    edges_E2 = edges_E2.reshape(-1, 2) - 1
    names, graph_N = np.unique(owner_N1[:, 0], return_inverse=True)
    count = len(names)
    edge_kept_E, faults = _faulty_edges(name, edges_E2, graph_N)
    edges_E2 = edges_E2[edge_kept_E]
    order_N = np.argsort(graph_N, kind="stable")
    local_N = np.empty(len(graph_N), np.int64)
    first_B = np.searchsorted(graph_N[order_N], np.arange(count))
    local_N[order_N] = np.arange(len(graph_N)) - first_B[graph_N[order_N]]
    edge_graph_E = graph_N[edges_E2[:, 0]]
    order_E = np.argsort(edge_graph_E, kind="stable")
    taken = {"node": (len(graph_N), order_N), "edge": (len(edge_kept_E), np.flatnonzero(edge_kept_E)[order_E])}

    def rows(kind: str, dtype: type) -> np.ndarray | None:
        count, order = taken[kind[:4]]
        if (found := read(kind, dtype)) is None:
            return None
        if len(found) != count:
            raise DataError(f"{name}_{kind}.txt has {len(found)} lines for {count} {kind[:4]}s.")
        return found[order]

    return Graphs(
        local_N[edges_E2][order_E].T,
        np.bincount(graph_N, minlength=count),
        np.bincount(edge_graph_E, minlength=count),
        {"x": rows("node_labels", np.int64), "values": rows("node_attributes", np.float64)},
        {"edge_attr": rows("edge_labels", np.int64), "edge_values": rows("edge_attributes", np.float64)},
        faults,
    )


def _faulty_edges(name: str, edges_E2: np.ndarray, graph_N: np.ndarray) -> tuple[np.ndarray, dict[int, Unreadable]]:
    """Return which edges join two nodes of one graph, bool (E,), and why the graphs of the others cannot be read."""
    listed_E2 = (edges_E2 >= 0) & (edges_E2 < len(graph_N))
    graph_E2 = np.where(listed_E2, graph_N[edges_E2.clip(0, len(graph_N) - 1)], -1)
    kept_E = listed_E2.all(1) & (graph_E2[:, 0] == graph_E2[:, 1])
    faults: dict[int, Unreadable] = {}
    for edge in np.flatnonzero(~kept_E).tolist():
        first, second = (edges_E2[edge] + 1).tolist()
        if listed_E2[edge].all():
            reason = f"the edge {first}, {second} joins nodes of different graphs"
        else:
            missing = second if listed_E2[edge, 0] else first
            reason = f"the edge {first}, {second} names node {missing}, which {name}_graph_indicator.txt does not list"
        for graph in set(graph_E2[edge].tolist()) - {-1}:
            faults.setdefault(graph, Unreadable(reason, where=Location(f"{name}_A.txt", edge + 1)))
        if not listed_E2[edge].any():
            raise DataError(f"Line {edge + 1} of {name}_A.txt: {reason}, and so is of no graph.")
    return kept_E, faults


def _labels(name: str, read: Read, count: int) -> dict[str, pa.Array]:
    """Return the labels of all graphs."""
    classes, targets = read("graph_labels", np.int64), read("graph_attributes", np.float64)
    for kind, rows in (("graph_labels", classes), ("graph_attributes", targets)):
        if rows is not None and len(rows) != count:
            raise DataError(f"{name}_{kind}.txt has {len(rows)} lines for {count} graphs.")
    labels = {} if classes is None else {"class": pa.array(classes[:, 0])}
    if targets is not None:
        single = targets.shape[1] == 1
        labels |= {"target" if single else f"target-{k}": pa.array(y_B) for k, y_B in enumerate(targets.T)}
    return labels


def _opened(path: Path) -> tuple[str, Read]:
    """Return the name of the data set in a folder or zip file, and the function that reads its files."""
    if path.is_dir():
        files: dict[str, Callable[[], bytes]] = {file.name: file.read_bytes for file in path.rglob("*.txt")}
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            whole = {Path(n).name: archive.read(n) for n in archive.namelist() if n.endswith(".txt")}
        files = {name: partial(bytes, content) for name, content in whole.items()}
    else:
        raise DataError(f"'{path}' is neither a folder nor a zip file of a TU data set.")
    names = [name.removesuffix("_A.txt") for name in files if name.endswith("_A.txt")]
    if len(names) != 1:
        raise DataError(f"'{path}' holds {len(names)} files NAME_A.txt; a TU data set has one.")

    def read(part: str, dtype: type) -> np.ndarray | None:
        name = f"{names[0]}_{part}.txt"
        if name not in files:
            return None
        try:
            text = files[name]().decode("utf-8")
            return (
                np.loadtxt(io.StringIO(text), dtype, delimiter=",", ndmin=2)
                if text.strip()
                else np.zeros((0, 1), dtype)
            )
        except ValueError as error:
            raise DataError(f"{name} in '{path}' cannot be read: {error}.") from error

    return names[0], read
