"""Several values of a field, from the source to a training, its tables and a search."""

import json

import pytest

import sensorium
from sensorium.data.arrays import ArraysSource
from tests import toys

COUNT = 60


@pytest.fixture
def source():
    """Pairs of which the second side has one, two or three values, and some have none."""
    one, two, three = (toys.vectors(count=COUNT, seed=seed) for seed in (0, 0, 3))
    sides = []
    for i in range(COUNT):
        other = [three[i].values["b"], three[(i + 1) % COUNT].values["b"]]
        sides.append([] if i % 20 == 19 else [two[i].values["b"], *other[: i % 3]])
    return ArraysSource({"a": [one[i].values["a"] for i in range(COUNT)], "b": sides})


def test_a_training_draws_one_value_and_its_tables_count_all(source, tmp_path):
    recipe = toys.pair_recipe(evaluate={"evaluators": {"retrieval": {"positives": "record"}}})
    recipe["data"] |= {"cache": "ram", "test": 0.4}
    options = {"source": source, "extensions": toys.extensions()}
    sensorium.fit(recipe, run_dir=tmp_path / "run", **options)
    table = sensorium.evaluate(tmp_path / "run", **options)["retrieval"]
    chance = table.row("chance").metrics
    # With T images and V values of the other side, chance of R@1 is the mean of each image's values over V, and 1 / T.
    images = round(1 / chance["b->a R@1"].mean)
    assert 10 < images < 35
    assert chance["a->b R@1"].mean == pytest.approx(1 / images, rel=0.15)
    found = sensorium.search(tmp_path / "run", source[2].values["b"][2], by="b", target="b", count=60, **options)
    assert (found[0].id, found[0].score) == ("2", pytest.approx(1.0, abs=1e-4))
    assert found[0].captions["b"].count(" / ") == 2
    assert len({hit.id for hit in found}) == len(found) == found.searched == COUNT - 3


def test_a_cache_changes_no_step(source, tmp_path):
    losses = []
    for cache in ("off", "ram"):
        recipe = toys.pair_recipe()
        recipe["data"] |= {"cache": cache}
        folder = tmp_path / cache
        sensorium.fit(recipe, source=source, run_dir=folder, extensions=toys.extensions())
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line).get("loss") for line in lines])
    assert len(losses[0]) > 5
    assert losses[0] == losses[1]
