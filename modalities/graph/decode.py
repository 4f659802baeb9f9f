"""From raw values to graphs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium import BadSample
from sensorium.modalities.graph.batch import Graph
from sensorium.modalities.graph.columns import is_whole
from sensorium.modalities.graph.files import read_bytes, read_file


def as_graph(raw: Any) -> Graph:
    """Return a raw value as a graph with its raw features: int64 categorical and float64 numeric.

    Args:
        raw: a `Graph`, PyTorch Geometric's `Data`, a mapping with its keys, or the path or the bytes of a file that
            has such.

    Raises:
        BadSample: when it is not a graph, has no node, an edge to a missing node, or non-finite features.
    """
    named = _named(raw)
    edges_2E = _edges(named["edge_index"])
    x, values = _by_dtype(named, "x", "values")
    edge_attr, edge_values = _by_dtype(named, "edge_attr", "edge_values")
    count = _num_nodes(named.get("num_nodes"), x if x is not None else values, edges_2E)
    if edges_2E.numel() and not 0 <= int(edges_2E.min()) <= int(edges_2E.max()) < count:
        missing = edges_2E[(edges_2E < 0) | (edges_2E >= count)][0]
        raise BadSample(
            f"edge_index names the missing node {missing}: node indices are from 0 to {count - 1}", "damaged"
        )
    graph = Graph(edges_2E, x, values, edge_attr, edge_values, count)
    for name, rows in (
        ("x", count),
        ("values", count),
        ("edge_attr", edges_2E.shape[1]),
        ("edge_values", edges_2E.shape[1]),
    ):
        found = getattr(graph, name)
        if found is not None and len(found) != rows:
            raise BadSample(
                f"{name} has {len(found)} rows for {rows} {'edges' if name.startswith('edge') else 'nodes'}"
            )
    return graph


def _edges(value: Any) -> Tensor:
    """Return edge_index as int64 (2, e), also of any empty shape, or of floats that are whole."""
    edges_2E = _array("edge_index", value)
    if edges_2E.numel() == 0:
        return torch.zeros(2, 0, dtype=torch.int64)
    if edges_2E.ndim != 2 or len(edges_2E) != 2:
        turned = ": it may have to be transposed" if edges_2E.ndim == 2 and edges_2E.shape[1] == 2 else ""
        raise BadSample(f"edge_index is {tuple(edges_2E.shape)}, not (2, e){turned}", "unsupported")
    if not is_whole(edges_2E):
        raise BadSample("edge_index has numbers that are not integers", "unsupported")
    return edges_2E.long()


def to_undirected(graph: Graph) -> Graph:
    """Return the graph with missing reverse edges added; a self-loop is its own reverse."""
    if not graph.edge_index.numel():
        return graph
    n = len(graph)
    code_E, reverse_E = graph.edge_index[0] * n + graph.edge_index[1], graph.edge_index[1] * n + graph.edge_index[0]
    missing_E = ~torch.isin(reverse_E, code_E)
    if not missing_E.any():
        return graph
    edges = {
        name: torch.cat([part, part[missing_E]])
        for name in ("edge_attr", "edge_values")
        if (part := getattr(graph, name)) is not None
    }
    edge_index = torch.cat([graph.edge_index, graph.edge_index[:, missing_E].flip(0)], dim=1)
    return dataclasses.replace(graph, edge_index=edge_index, **edges)


def degree_of(graph: Graph, most: int) -> Tensor:
    """Return the out-degree of each node, int64 (N,), clipped at `most`."""
    return graph.edge_index[0].bincount(minlength=len(graph)).clamp(max=most)


def with_degree(graph: Graph, most: int) -> Graph:
    """Return the graph with the out-degree as one more categorical feature, clipped at `most`."""
    degree_N1 = degree_of(graph, most)[:, None]
    return dataclasses.replace(graph, x=degree_N1 if graph.x is None else torch.cat([graph.x, degree_N1], dim=1))


def _named(raw: Any) -> Mapping[str, Any]:
    """Return the parts of a raw value by PyTorch Geometric's names."""
    if isinstance(raw, Graph):
        return {f.name: getattr(raw, f.name) for f in dataclasses.fields(raw)}
    if isinstance(raw, str | os.PathLike):
        raw = read_file(Path(raw))
    if isinstance(raw, bytes):
        raw = read_bytes(raw)
    found = raw if isinstance(raw, Mapping) else raw.to_dict() if hasattr(raw, "to_dict") else None
    if found is None:
        raise BadSample(f"a graph is a Graph, Data or mapping with edge_index, not {type(raw).__name__}", "unsupported")
    if found.get("edge_index") is None:
        raise BadSample(f"the graph has no edge_index; it has {', '.join(map(str, found)) or 'nothing'}", "unsupported")
    # Data infers num_nodes from its edges where nodes have no features.
    return dict(found) | ({} if isinstance(raw, Mapping) else {"num_nodes": raw.num_nodes})


def _array(name: str, value: Any) -> Tensor:
    """Return a value as a tensor of integers or of floats."""
    try:
        tensor = torch.as_tensor(value if isinstance(value, Tensor) else np.asarray(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadSample(f"{name} is not an array of numbers", "unsupported") from error
    if tensor.is_complex():
        raise BadSample(f"{name} is an array of complex numbers", "unsupported")
    return tensor.double() if tensor.is_floating_point() else tensor.long()


def _by_dtype(named: Mapping[str, Any], categorical: str, numeric: str) -> tuple[Tensor | None, Tensor | None]:
    """Return the categorical and the numeric features; PyTorch Geometric has both under one name."""
    parts: dict[bool, list[Tensor]] = {True: [], False: []}
    for name in (categorical, numeric):
        if named.get(name) is None:
            continue
        found = _array(name, named[name])
        found = found[:, None] if found.ndim == 1 else found
        if found.ndim != 2:
            raise BadSample(f"{name} has {found.ndim} axes, not two", "unsupported")
        floats = found.is_floating_point() or name == numeric
        if floats and not found.isfinite().all():
            raise BadSample(f"{name} has non-finite values", "non-finite")
        if found.shape[1]:
            parts[floats].append(found.double() if floats else found)
    if any(len({len(part) for part in kind}) > 1 for kind in parts.values()):
        raise BadSample(f"{categorical} and {numeric} have different numbers of rows", "damaged")
    return tuple(torch.cat(kind, dim=1) if kind else None for kind in (parts[False], parts[True]))  # type: ignore[return-value]


def _num_nodes(given: Any, rows: Tensor | None, edges_2E: Tensor) -> int:
    """Return the number of nodes: as given, or the rows of their features, or inferred from the edges."""
    if given is not None:
        count = int(_array("num_nodes", given).reshape(-1)[:1].sum())
    elif rows is not None:
        count = len(rows)
    else:
        count = int(edges_2E.max()) + 1 if edges_2E.numel() else 0
    if count < 1:
        raise BadSample("the graph has no node", "empty")
    return count
