"""Regression on descriptors from file to tables: their number is known after the fit, and a cache has them."""

import numpy as np

import sensorium
from sensorium.data.arrays import ArraysSource
from sensorium.registration.discovery import load_extensions


def test_descriptors_of_graphs_are_learned_and_evaluated_from_a_cache(tmp_path):
    rng = np.random.default_rng(0)
    sizes = rng.integers(4, 12, 80)
    graphs = [
        {"edge_index": rng.integers(0, n, (2, 2 * n)), "values": rng.normal(n, 1, (n, 2)).astype(np.float32)}
        for n in sizes
    ]
    source = ArraysSource({"graph": graphs}, labels={"is large": (sizes > 7).tolist()})
    recipe = {
        "name": "graphs",
        "data": {"batch": 16, "workers": 0, "cache": "ram", "val": 0.0, "test": 0.3},
        "modalities": {"graph": {"views": "plain", "encoder": {"name": "gin", "width": 16, "depth": 2}}},
        "objective": {"name": "regress", "width": 16},
        "optimizer": {"lr": 1e-2},
        "train": {"steps": 40, "accelerator": "cpu"},
        "log": {"every": 10, "loggers": {}},
        "evaluate": {"evaluators": {"knn": {"label": "is large"}}},
    }
    model = sensorium.fit(recipe, source=source, run_dir=tmp_path / "run", extensions=load_extensions({}, []))
    logged = [line for line in (model.run.folder / "metrics.jsonl").read_text().splitlines() if "explained" in line]
    assert float(logged[-1].partition('"explained_variance": ')[2].split(",")[0].rstrip("}")) > 0.2
    assert model.learner.objective.standardize.rows == 48  # whole batches of the 60
    again = sensorium.load(model.run.folder, extensions=load_extensions({}, []))
    assert again.embed(graph=graphs[:3])["graph"].shape == (3, again.learner.encoder("graph").dim)
