"""Retrieval between every two of three modalities: one table, a sheet for each direction, a baseline of one kind."""

import json

import numpy as np
import pytest
from PIL import Image

import sensorium
from tests import toys


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs") / "run"
    tower = {"modality": "vector", "views": {"name": "noise", "views": 1}, "encoder": {"name": "mlp", "dropout": 0.0}}
    evaluators = {
        "retrieval": {"pairs": "all", "positives": "record"},
        "by-class": {"name": "retrieval", "pairs": "all", "positives": "label:class"},
        "by-value": {"name": "retrieval", "query": "a", "target": "b", "positives": "value"},
    }
    recipe = toys.recipe(objective={"name": "align", "dim": 8}, evaluate={"evaluators": evaluators}) | {
        "modalities": {"a": tower, "b": tower, "c": {**tower, "field": "b"}},
        "train": {"steps": 6, "accelerator": "cpu"},
    }
    sensorium.fit(recipe, source=toys.vectors(count=120), run_dir=folder, extensions=toys.extensions())
    return folder


def test_every_pair_is_measured_and_drawn(run):
    rows = json.loads((run / "evaluations" / "retrieval.json").read_text())["rows"]
    pairs = [(x, y) for x in "abc" for y in "abc" if x != y]
    for row in ("chance", "baseline", "untrained", "trained"):
        assert {f"{x}->{y} R@1" for x, y in pairs} <= rows[row]["metrics"].keys()
    assert rows["baseline"]["metrics"]["b->c R@1"]["mean"] == 1.0  # the same values
    text = (run / "evaluations" / "retrieval.md").read_text()
    assert "| trained: R@1, query -> target | a | b | c |" in text
    for x, y in pairs:
        assert Image.open(run / "evaluations" / f"sheet-{x}-to-{y}.png").height > 300


def test_more_positives_are_found_sooner(run):
    of_table = {
        name: json.loads((run / "evaluations" / f"{name}.json").read_text())["rows"]
        for name in ("retrieval", "by-class", "by-value")
    }
    chance = {name: rows["chance"]["metrics"]["a->b R@1"]["mean"] for name, rows in of_table.items()}
    assert chance["by-class"] > 3 * chance["retrieval"]
    assert chance["by-value"] == pytest.approx(chance["retrieval"])  # no value stands twice


def test_a_modality_without_previews_is_drawn_in_words(run, tmp_path, monkeypatch):
    monkeypatch.setattr(toys.VectorModality, "has_preview", False)
    toy = {"source": toys.vectors(count=120), "extensions": toys.extensions()}
    sensorium.search(run, toy["source"][3].values["a"], sheet=tmp_path / "hits.png", count=3, **toy)
    pixels = np.asarray(Image.open(tmp_path / "hits.png"))
    cell = pixels[95:200, 215:350]
    assert 230 < cell.mean() < 255, "words on white, where a preview is a patch of color"
