"""Graphs through two views a second: batched, beside PyTorch Geometric's functions graph by graph.

    python docs/benchmarks/graph_views.py --turns 5

PyGCL's augmentors, where that library is installed, are timed graph by graph and on the joined batch, in which they
draw once for all graphs: a dropped node stays as a row without edges, and the same columns are masked in every graph.

Graphs like those of the TU collection: 128 rings with chords, 20 to 60 nodes. All ways are timed in turns in one
process on one thread; the least CPU time of each counts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType

import torch
from torch_geometric.data import Batch, Data
from torch_geometric.utils import add_random_edge, dropout_edge, dropout_node, mask_feature

from sensorium.modalities.graph.batch import Graph
from sensorium.modalities.graph.modality import GraphModality
from sensorium.modalities.graph.views import generators

RATIO = 0.2


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
        edge_index, _, kept_N = dropout_node(graph.edge_index, RATIO, graph.num_nodes, relabel_nodes=True)
        return Data(x=graph.x[kept_N], edge_index=edge_index)

    def edges(graph: Data) -> Data:
        kept, _ = dropout_edge(graph.edge_index, RATIO, force_undirected=True)
        return Data(x=graph.x, edge_index=add_random_edge(kept, RATIO, True, graph.num_nodes)[0])

    def features(graph: Data) -> Data:
        return Data(x=mask_feature(graph.x, RATIO, "row")[0], edge_index=graph.edge_index)

    changes = {"node-dropping": nodes, "edge-perturbation": edges, "feature-masking": features}
    return {
        name: lambda change=change: [change(graph) for _ in range(2) for graph in data]
        for name, change in changes.items()
    }


def of_pygcl(data: list[Data]) -> dict[str, dict[str, Callable[[], object]]]:
    """Return PyGCL's augmentors, twice for each graph and twice for the batch; nothing where it is not installed."""
    if not find_spec("GCL"):
        return {}
    for name, parts in {"torch_sparse": ("SparseTensor", "coalesce"), "torch_scatter": ("scatter",)}.items():
        stand_in = ModuleType(name)  # compiled extras that it imports, and that these augmentors do not call
        for part in parts:
            setattr(stand_in, part, None)
        sys.modules.setdefault(name, stand_in)
    from GCL import augmentors

    made = {"node-dropping": augmentors.NodeDropping(RATIO), "feature-masking": augmentors.FeatureMasking(RATIO)}
    joined = Batch.from_data_list(data)
    return {
        f"PyGCL, {how}": {
            name: lambda augment=augment, parts=parts: [augment(d.x, d.edge_index) for _ in range(2) for d in parts]
            for name, augment in made.items()
        }
        for how, parts in {"a graph": data, "the batch": [joined]}.items()
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
        "node-dropping": generators.NodeDropping(modality, RATIO),
        "edge-perturbation": generators.EdgePerturbation(modality, RATIO, RATIO),
        "feature-masking": generators.FeatureMasking(modality, RATIO),
        "subgraph": generators.Subgraph(modality, 1 - RATIO),
        "ppr-diffusion": generators.PPRDiffusion(modality),
        "augment": generators.Augment(modality, ratio=RATIO),
    }
    ways: dict[str, dict[str, Callable[[], object]]] = {
        "ours": {name: lambda generator=generator: generator(batch, rng) for name, generator in ours.items()},
        "PyG": of_pyg(data),
        **of_pygcl(data),
    }
    best: dict[tuple[str, str], float] = {}
    for _ in range(asked.turns):
        for way, views in ways.items():
            for name, make in views.items():
                start = time.process_time()
                make()
                spent = time.process_time() - start
                best[way, name] = min(best.get((way, name), spent), spent)
    print(f"| view, graphs/s | {' | '.join(ways)} |\n| --- |{' ---: |' * len(ways)}")
    for name in ours:
        cells = [f"{asked.graphs / best[way, name]:,.0f}" if (way, name) in best else "–" for way in ways]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
