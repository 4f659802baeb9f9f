"""Nodes of one graph: DGI and BGRL beside raw features and untrained networks, and what sampling costs in memory.

    python docs/benchmarks/node_graphs.py --seeds 3

Stochastic blocks of 1,000 to 100,000 nodes, 4,000 of them (or all) records, half of these to test on; and the karate
club's 34 members, by repeated ten-fold cross-validation. Nothing is read from disk. Prints tables, and for each size of
graph the bytes of a batch.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

import sensorium
from sensorium.modalities.graph.batch import GraphBatch
from sensorium.modalities.graph.modality import GraphModality
from sensorium.modalities.graph.sources.neighborhoods import StochasticBlocks

OBJECTIVES = {
    "DGI": [],
    "BGRL": ["objective={name: byol, width: 128, dim: 64}", "modalities.graph.views=grace"],
}
BLOCKS = ["train.epochs=5", "evaluate.evaluators={linear: {label: class}}"]
KARATE = [
    "data.source={name: karate}",
    "data.batch=17",
    "train.epochs=60",
    "evaluate.evaluators={linear: {protocol: {name: kfold, folds: 10, repeats: 3}}}",
]


def table(changes: list[str], seeds: int) -> str:
    """Train one objective with several seeds; return its table."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder) / str(seed) for seed in range(seeds)]
        for seed, run in enumerate(runs):
            sensorium.fit("node-dgi", [f"seed={seed}", *changes, "data.split_seed=0"], run_dir=run)
        return sensorium.evaluate(runs)["linear"].markdown()


def batch_bytes(nodes: int, count: int = 256) -> int:
    """Return the bytes of a batch of neighborhoods out of a graph of so many nodes."""
    source = StochasticBlocks(nodes=nodes)
    modality = GraphModality(rooted=True)
    raws = [source[i].values["graph"] for i in range(count)]
    modality.fit(raws)
    batch: GraphBatch = modality.collate([modality.decode(raw) for raw in raws])
    return sum(t.numel() * t.element_size() for t in batch.tensors().values())


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print("| nodes | bytes of a batch of 256 |\n| ---: | ---: |")
    for nodes in (1_000, 10_000, 100_000):
        print(f"| {nodes:,} | {batch_bytes(nodes):,} |", flush=True)
    for data, changes in (("100,000 nodes in ten blocks", BLOCKS), ("karate club", KARATE)):
        for name, more in OBJECTIVES.items():
            print(f"\n### {data}: {name}\n\n{table([*changes, *more], asked.seeds)}", flush=True)


if __name__ == "__main__":
    main()
