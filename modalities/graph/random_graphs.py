"""Random graphs of any schema, by which exporters compare encoders."""

from __future__ import annotations

import torch

from sensorium.modalities.graph.batch import Graph, GraphBatch, Schema


def random_graphs(schema: Schema, count: int, is_long: bool, rng: torch.Generator) -> GraphBatch:
    """Return random trees with features of a schema, each edge in both directions.

    Args:
        schema: of nodes and edges.
        count: number of graphs.
        is_long: whether they have up to 24 nodes, not 12.
        rng: on the CPU.
    """

    def features(categories: tuple[int, ...], values: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        ids = [torch.randint(most, (rows,), generator=rng) for most in categories]
        of_categories = torch.stack(ids, dim=1) if ids else torch.zeros(rows, 0, dtype=torch.int64)
        return of_categories, torch.randn(rows, values, generator=rng)

    graphs = []
    for _ in range(count):
        nodes = int(torch.randint(6, 25 if is_long else 13, (), generator=rng))
        parents = [int(torch.randint(child, (), generator=rng)) for child in range(1, nodes)]
        one_way_2E = torch.tensor([parents, list(range(1, nodes))])
        edges_2E = torch.cat([one_way_2E, one_way_2E.flip(0)], dim=1)
        x, values = features(schema.node_categories, schema.node_values, nodes)
        edge_attr, edge_values = features(schema.edge_categories, schema.edge_values, nodes - 1)
        graphs.append(Graph(edges_2E, x, values, edge_attr.repeat(2, 1), edge_values.repeat(2, 1), nodes))
    return GraphBatch.join(graphs)
