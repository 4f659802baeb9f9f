"""Searching a run, and runs side by side."""

import json

import pytest
from PIL import Image

import sensorium
from sensorium.errors import RecipeError, RunError
from sensorium.evaluation.run_comparison import compare_runs
from tests import toys

RETRIEVAL = {"evaluators": {"retrieval": {"positives": "record"}}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folders = [tmp_path_factory.mktemp("runs") / name for name in ("one", "two")]
    for seed, folder in enumerate(folders):
        recipe = toys.pair_recipe(seed=seed, evaluate=RETRIEVAL) | {"train": {"epochs": 20, "accelerator": "cpu"}}
        sensorium.fit(recipe, source=toys.vectors(count=200), run_dir=folder, extensions=toys.extensions())
    return folders


def test_a_value_finds_its_partner_first_or_soon(runs):
    source = toys.vectors(count=200)
    ranks = []
    for i in range(20):
        found = sensorium.search(
            runs[0], source[i].values["a"], by="a", count=50, source=source, extensions=toys.extensions()
        )
        assert len(found) == 50
        scores = [hit.score for hit in found]
        assert scores == sorted(scores, reverse=True)
        assert [hit.rank for hit in found] == list(range(1, 51))
        names = [hit.id for hit in found]
        ranks.append(names.index(str(i)) if str(i) in names else 50)
    assert sorted(ranks)[10] < 10


def test_a_value_finds_itself_among_its_own_modality(runs):
    source = toys.vectors(count=200)
    found = sensorium.search(
        runs[0], source[7].values["b"], by="b", target="b", count=1, source=source, extensions=toys.extensions()
    )
    assert [(hit.id, hit.score) for hit in found] == [("7", pytest.approx(1.0, abs=1e-5))]
    assert (found.by, found.target, found.part, found.searched) == ("b", "b", "all", 200)
    assert found[0].captions == source[7].values
    assert found[0].labels == source.key(7).labels
    assert found[0].paths == {}


def test_a_modality_that_is_not_there_is_named(runs):
    with pytest.raises(RunError, match="no modality 'c'"):
        sensorium.search(runs[0], "1", by="c", source=toys.vectors(count=200), extensions=toys.extensions())


def test_a_query_that_several_modalities_read_names_the_others(runs):
    source = toys.vectors(count=200)
    found = sensorium.search(runs[0], source[7].values["a"], source=source, extensions=toys.extensions())
    assert (found.by, found.others, found.target) == ("a", ("b",), "b")
    with pytest.raises(RunError, match=r"No modality of the run reads 'red' \(a: not numbers: 'red'; b: not numbers"):
        sensorium.search(runs[0], "red", source=source, extensions=toys.extensions())


def test_a_contact_sheet_of_the_hits(runs, tmp_path):
    toy = {"source": toys.vectors(count=200), "extensions": toys.extensions()}
    query = toy["source"][7].values["a"]
    sensorium.search(runs[0], query, count=8, sheet=tmp_path / "hits.png", **toy)
    few, many = Image.open(tmp_path / "hits.png"), tmp_path / "more.png"
    sensorium.search(runs[0], query, count=13, sheet=many, **toy)
    assert few.width == Image.open(many).width  # further rows, not columns
    assert few.height < Image.open(many).height
    with pytest.raises(RunError, match=r"'hits.jpg' does not end in .png"):
        sensorium.search(runs[0], query, sheet="hits.jpg", **toy)


def test_runs_stand_side_by_side(runs, tmp_path):
    table = compare_runs(runs)["retrieval"]
    assert [row.name for row in table.rows] == ["chance", *map(str, runs)]
    told = [json.loads((run / "evaluations" / "retrieval.json").read_text()) for run in runs]
    for row, of_run in zip(table.rows[1:], told, strict=True):
        assert row.metrics["a->b MRR"].mean == of_run["rows"]["trained"]["metrics"]["a->b MRR"]["mean"]
        assert not row.notes


def test_runs_on_other_records_say_so(runs, tmp_path):
    other = tmp_path / "other"
    recipe = toys.pair_recipe(evaluate=RETRIEVAL)
    sensorium.fit(recipe, source=toys.vectors(count=100), run_dir=other, extensions=toys.extensions())
    table = compare_runs([runs[0], other])["retrieval"]
    assert not table.rows[1].notes
    assert "not comparable" in next(iter(table.rows[2].notes))
    with pytest.raises(RunError, match="two runs or more"):
        compare_runs(runs[:1])
    with pytest.raises(RunError, match="named twice"):
        compare_runs([runs[0], runs[1], runs[0] / ".." / runs[0].name])
    for path in (other / "evaluations").iterdir():
        path.unlink()
    with pytest.raises(RunError, match="no evaluation in common"):
        compare_runs([runs[0], other])


@pytest.mark.parametrize("count", [0, -1])
def test_a_search_asks_for_a_record_at_least(runs, count):
    with pytest.raises(RecipeError, match="'count' of the search must be at least 1"):
        sensorium.search(runs[0], "1", by="a", count=count)
