"""Graphs through two views a second: batched, beside PyTorch Geometric's functions graph by graph.

    python docs/benchmarks/graph_views.py --turns 5

Graphs like those of the TU collection: 128 rings with chords, 20 to 60 nodes. All ways are timed in turns in one
process on one thread; the least CPU time of each counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch_geometric.data import Data
from torch_geometric.utils import add_random_edge, dropout_edge, dropout_node, mask_feature

from sensorium.modalities.graph.batch import Graph
from sensorium.modalities.graph.modality import GraphModality
from sensorium.modalities.graph.views import generators

SHARE = 0.2


def graphs(count: int) -> list[Graph]:
    """Return rings with chords, each edge both ways, with a class and eight numbers on every node."""
    rng = torch.Generator().manual_seed(0)
    made = []
    for _ in range(count):
        nodes = int(torch.randint(20, 61, (1,), generator=rng))
        ring = torch.arange(nodes)
        chords = torch.randint(0, nodes, (2, nodes // 2), generator=rng)
        edges = torch.cat([torch.stack([ring, ring.roll(1)]), chords], dim=1)
        x = torch.randint(0, 7, (nodes, 1), generator=rng)
        made.append(Graph(torch.cat([edges, edges.flip(0)], dim=1), x, torch.randn(nodes, 8, generator=rng)))
    return made


def of_pyg(data: list[Data]) -> dict[str, Callable[[], object]]:
    """Return PyTorch Geometric's functions, twice for each graph."""

    def nodes(graph: Data) -> Data:
        edge_index, _, kept_N = dropout_node(graph.edge_index, SHARE, graph.num_nodes, relabel_nodes=True)
        return Data(x=graph.x[kept_N], edge_index=edge_index)

    def edges(graph: Data) -> Data:
        kept, _ = dropout_edge(graph.edge_index, SHARE, force_undirected=True)
        return Data(x=graph.x, edge_index=add_random_edge(kept, SHARE, True, graph.num_nodes)[0])

    def features(graph: Data) -> Data:
        return Data(x=mask_feature(graph.x, SHARE, "row")[0], edge_index=graph.edge_index)

    changes = {"node-drop": nodes, "edges": edges, "feature-mask": features}
    return {
        name: lambda change=change: [change(graph) for _ in range(2) for graph in data]
        for name, change in changes.items()
    }


def main() -> None:
    """Time every way and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--graphs", type=int, default=128)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    made = graphs(asked.graphs)
    modality = GraphModality()
    modality.fit(made)
    batch = modality.collate([modality.decode(graph) for graph in made])
    data = [Data(x=graph.values, edge_index=graph.edge_index) for graph in made]
    rng = torch.Generator().manual_seed(0)
    ours = {
        "node-drop": generators.NodeDrop(modality, SHARE),
        "edges": generators.Edges(modality, SHARE, SHARE),
        "feature-mask": generators.FeatureMask(modality, SHARE),
        "walk": generators.Walk(modality, 1 - SHARE),
        "diffusion": generators.Diffusion(modality),
        "augment": generators.Augment(modality, share=SHARE),
    }
    ways = {
        "ours": {name: lambda generator=generator: generator(batch, rng) for name, generator in ours.items()},
        "PyG": of_pyg(data),
    }
    best: dict[tuple[str, str], float] = {}
    for _ in range(asked.turns):
        for way, views in ways.items():
            for name, make in views.items():
                start = time.process_time()
                make()
                spent = time.process_time() - start
                best[way, name] = min(best.get((way, name), spent), spent)
    print("| view | ours | PyG | times |\n| --- | ---: | ---: | ---: |")
    for name in ours:
        mine, theirs = asked.graphs / best["ours", name], best.get(("PyG", name))
        cells = [f"{asked.graphs / theirs:,.0f}", f"{mine * theirs / asked.graphs:.1f}"] if theirs else ["–", "–"]
        print(f"| {name} | {mine:,.0f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
