"""`sensorium search`, `export`, `report` and `compare`, on runs of two languages: what is typed, what is printed."""

from __future__ import annotations

import csv
import json
import re
import shutil

import pytest
import torch

import sensorium
from sensorium.cli.main import main

WORDS = ["red", "green", "blue", "round", "square", "small", "large", "old", "new", "warm", "cold", "soft"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs that differ in their seed."""
    folder = tmp_path_factory.mktemp("use")
    pairs = [(f"{one} {other}", f"{other[::-1]} {one[::-1]}") for one in WORDS for other in WORDS]
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "said", "mirrored"), *((f"p{n}", *pair) for n, pair in enumerate(pairs))])
    tower = {
        "modality": {"name": "text", "vocab": 300, "length": 24},
        "views": "plain",
        "encoder": {"name": "transformer", "width": 32, "depth": 1, "heads": 2},
    }
    for seed in (0, 1):
        recipe = {
            "name": "mirrors",
            "seed": seed,
            "data": {"source": {"name": "table", "path": str(folder / "pairs.csv"), "id": "id"}, "batch": 48},
            "modalities": {"said": tower, "mirrored": tower},
            "objective": {"name": "clip", "dim": 16},
            "optimizer": {"lr": 0.005},
            "train": {"epochs": 8, "accelerator": "cpu"},
            "log": {"loggers": {}},
            "evaluate": {"evaluators": {"retrieval": {"positives": "record"}}},
        }
        recipe["data"] |= {"workers": 0, "val": 0.0, "test": 0.2}
        sensorium.fit(recipe, run_dir=folder / f"run-{seed}")
    return [folder / f"run-{seed}" for seed in (0, 1)]


@pytest.fixture
def call(capsys):
    """Run the program: exit code, stdout and stderr."""

    def run(*words):
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        return left.value.code, *capsys.readouterr()

    return run


def test_search_prints_what_was_asked_and_what_was_found(runs, call):
    code, out, _ = call("search", runs[0], "red green", "--count", 5)
    asked, searched, empty, heading, *lines = out.splitlines()
    assert code == 0
    assert asked == "query     red green, as said; mirrored would read it too, see --by"
    assert searched == f"searched  mirrored of {len(WORDS) ** 2} records, part all"
    assert (empty, heading.split()) == ("", ["rank", "cosine", "id", "mirrored", "said"])
    found = sensorium.search(runs[0], "red green", count=5)
    for line, hit in zip(lines, found, strict=True):
        told = [str(hit.rank), f"{hit.score:.3f}", hit.id, hit.captions["mirrored"], hit.captions["said"]]
        assert line.split() == " ".join(told).split()


def test_search_takes_modalities_part_and_json(runs, call):
    words = ["--by", "said", "--target", "said", "--part", "all", "--count", 1, "--json"]
    code, out, _ = call("search", runs[0], "green red", *words)
    told = json.loads(out)
    assert code == 0
    assert {name: value for name, value in told.items() if name != "hits"} == {
        "query": "green red",
        "by": "said",
        "target": "said",
        "part": "all",
        "searched": len(WORDS) ** 2,
    }
    assert told["hits"] == [
        {
            "rank": 1,
            "id": f"p{WORDS.index('green') * len(WORDS)}",
            "score": pytest.approx(1.0, abs=1e-4),
            "captions": {"said": "green red", "mirrored": "der neerg"},
            "paths": {},
            "labels": {},
            "previews": {},
        }
    ]
    everywhere, on_test = (
        len(json.loads(call("search", runs[0], "red", "--part", part, "--count", 1000, "--json")[1])["hits"])
        for part in ("all", "test")
    )
    assert everywhere == len(WORDS) ** 2
    assert 0 < on_test < everywhere / 2


def test_search_applies_overrides_to_the_recipe(runs, call, tmp_path):
    (tmp_path / "few.csv").write_text("id,said,mirrored\nonly,red green,neerg der\n")
    code, out, _ = call("search", runs[0], "blue", f"data.source.path={tmp_path / 'few.csv'}", "data.test=0")
    assert code == 0
    assert [line.split()[2] for line in out.splitlines()[4:]] == ["only"]


def test_search_names_what_is_not_there(runs, call):
    code, out, err = call("search", runs[0], "red", "--target", "mirored")
    assert code != 0
    assert out == ""
    assert "no modality 'mirored', did you mean 'mirrored'?" in err


def test_a_file_that_is_not_there_never_becomes_words(runs, call):
    code, out, err = call("search", runs[0], "nowhere.jpg")
    assert (code, out) == (5, "")
    assert "There is no file 'nowhere.jpg'. To search for these words, name the modality that reads them" in err
    code, out, _ = call("search", runs[0], "nowhere.jpg", "--by", "said", "--count", 1)
    assert code == 0
    assert out.startswith("query     nowhere.jpg, as said\n")


def test_choices_are_listed_and_checked(runs, call):
    code, _, err = call("search", runs[0], "red", "--part", "tests")
    assert code == 2
    words = " ".join(err.replace("│", " ").split())
    assert "'tests' is not one of 'train', 'val', 'test', 'all'" in words
    code, _, err = call("mine", runs[0], "negatives.csv")
    assert code == 5
    assert "write negatives.parquet, not 'negatives.csv'" in err


def test_a_resumed_run_takes_no_other_recipe(runs, call):
    code, _, err = call("train", "simclr", "--resume", runs[0])
    assert (code, "leave out 'simclr'" in err) == (2, True)
    code, _, err = call("train", "simclr", "--data-changed")
    assert (code, "name it with --resume" in err) == (2, True)


def test_a_label_that_no_record_has_is_an_error_before_the_training(runs, call, tmp_path):
    recipe = runs[0] / "recipe.yaml"
    words = ["train", recipe, "evaluate.evaluators={knn: {label: kind, modality: said}}", "--run-dir", tmp_path / "run"]
    code, _, err = call(*words)
    assert code == 4
    assert "The evaluator 'knn' cannot measure these records: the records have no label 'kind'; there are: none." in err
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_export_writes_what_it_says_how_to_load(runs, call, tmp_path):
    code, out, _ = call("export", runs[0], tmp_path / "out")
    assert code == 0
    first, _, lines = out.partition("\n\n")
    assert first == f"Wrote {tmp_path / 'out'}. To load it:"
    names = {"sensorium": sensorium, "values": ["red green"]}
    with torch.no_grad():
        exec(lines, names)
    wanted = sensorium.load(runs[0]).embed(space="features", said=names["values"])["said"]
    torch.testing.assert_close(names["features"], wanted)


def test_export_refuses_a_full_folder_and_a_format_that_is_not_there(runs, call, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    code, _, err = call("export", runs[0], tmp_path)
    assert code != 0
    assert "not an empty folder" in err
    code, _, err = call("export", runs[0], tmp_path / "half", "dtype=float61")
    assert (code, err.count("\n")) == (2, 1)
    assert "options.dtype = 'float61' is not 'float32', 'float16' or 'bfloat16'" in err
    code, _, err = call("export", runs[0], tmp_path / "new", "--format", "encoder")
    assert code != 0
    assert "did you mean 'encoders'" in err


def test_compare_shows_every_run_beside_chance(runs, call):
    code, out, _ = call("compare", *runs, "--json")
    told = json.loads(out)["retrieval"]["rows"]
    assert code == 0
    assert list(told) == ["chance", *map(str, runs)]
    for run in runs:
        kept = json.loads((run / "evaluations" / "retrieval.json").read_text())["rows"]["trained"]
        assert told[str(run)]["metrics"] == kept["metrics"]
    code, out, _ = call("compare", *runs)
    assert code == 0
    assert "retrieval" in out


def test_compare_needs_two_runs(runs, call):
    code, _, err = call("compare", runs[0])
    assert code != 0
    assert "two runs or more" in err


def test_pages_of_a_run_and_of_several(runs, call, tmp_path, monkeypatch):
    monkeypatch.setattr("sensorium.reports.page._vega", lambda: "window.vegaEmbed = null;")
    code, out, _ = call("report", str(runs[0]), "--records", "20")
    assert (code, out.startswith(f"The page is {runs[0] / 'report.html'} (")) == (0, True)
    page = (runs[0] / "report.html").read_text(encoding="utf-8")
    assert re.search("20 of [23][0-9] records of the part &#39;test&#39;", page)
    assert "said → mirrored" in page
    code, out, err = call("report", str(runs[0]), "data.source.path=gone.csv")
    assert (code, out) == (4, "")
    assert "gone.csv" in err
    code, out, _ = call("compare", *map(str, runs), "--html", str(tmp_path / "both.html"))
    assert (code, out.endswith(f"The page is {tmp_path / 'both.html'}.\n")) == (0, True)
    assert "2 runs" in (tmp_path / "both.html").read_text(encoding="utf-8")
    bare = shutil.copytree(runs[1], tmp_path / "bare")
    shutil.rmtree(bare / "evaluations")
    code, out, err = call("compare", str(runs[0]), str(bare), "--html", str(tmp_path / "bare.html"))
    assert (code, "no evaluation in common" in err, (tmp_path / "bare.html").is_file()) == (0, True, True)
