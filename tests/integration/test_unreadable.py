"""Unreadable values of a whole run: each reported once, over all parts, and the rest of their records used."""

import logging
from collections import Counter

import numpy as np
import pytest

import sensorium
from sensorium.data.arrays import ArraysSource
from sensorium.data.splits import assign_parts
from sensorium.errors import DataError
from sensorium.runs.run import Run
from tests import toys
from tests.unreadable import unreadable

EVALUATORS = {"health": {"name": "health"}}


def source(count, broken, modality="a", **more):
    """Pairs of vectors, of which those at the `broken` positions are unreadable in one modality."""
    whole = toys.vectors(count, **more)
    records = [whole[i] for i in range(count)]
    values = {name: [record.values[name] for record in records] for name in ("a", "b")}
    for i in broken:
        values[modality][i] = f"oh {i}"
    return ArraysSource(values, labels={"class": [record.labels["class"] for record in records]})


def train(folder, records, recipe=toys.pair_recipe, evaluators=EVALUATORS, steps=4, **data):
    made = recipe(evaluate={"batch": 32, "evaluators": evaluators})
    made["train"] = {"steps": steps, "accelerator": "cpu"}
    made["data"] |= data
    return sensorium.fit(made, source=records, run_dir=folder, extensions=toys.extensions())


def test_46_faults_in_200_records_are_each_said_once(tmp_path, caplog):
    caplog.set_level(logging.INFO, "sensorium")
    broken = np.random.default_rng(0).choice(200, 46, replace=False).tolist()
    train(tmp_path / "run", source(200, broken), max_bad=0.3, cache="ram", val=0)
    rows = unreadable(tmp_path / "run")
    assert sorted(int(row["record"]) for row in rows) == sorted(broken)
    assert {row["modality"] for row in rows} == {"a"}
    parts = assign_parts(source(200, []), {"test": 0.15}, 0)
    assert Counter(row["part"] for row in rows) == {
        part: len(set(positions) & set(broken)) for part, positions in parts.items() if part != "val"
    }
    said = [line for line in (tmp_path / "run" / "train.log").read_text().splitlines() if "unreadable" in line]
    assert len(said) == 46
    assert all(sum(f"'{i}'" in line for line in said) == 1 for i in broken)


def test_a_later_evaluation_and_a_resume_say_nothing_twice(tmp_path, caplog):
    records = source(96, [3, 40, 41, 90])
    model = train(tmp_path / "run", records, max_bad=0.1, cache="ram", val=0)
    rows = unreadable(tmp_path / "run")
    assert len(rows) == 4
    caplog.clear()
    sensorium.evaluate(tmp_path / "run", source=records, extensions=toys.extensions(), device="cpu")
    Run.open(tmp_path / "run").update(state="interrupted")
    sensorium.fit(resume=tmp_path / "run", overrides=["train.steps=6"], source=records, extensions=toys.extensions())
    assert unreadable(tmp_path / "run") == rows
    assert not [record for record in caplog.records if "unreadable:" in record.getMessage()]
    assert model.run.status()["state"] == "finished"


def test_one_broken_record_in_a_small_test_part_ends_no_run(tmp_path):
    whole = source(321, [])
    test = assign_parts(whole, {"val": 0.15, "test": 0.07}, 0)["test"]
    assert len(test) < 40
    model = train(tmp_path / "run", source(321, test[:1].tolist()), toys.recipe, max_bad=0.01, test=0.07)
    assert model.run.status()["state"] == "finished"
    assert (tmp_path / "run" / "evaluations" / "health.json").exists()
    (row,) = unreadable(tmp_path / "run")
    assert (row["record"], row["part"]) == (str(test[0]), "test")


def test_too_many_over_all_parts_stop_a_run_with_what_to_do(tmp_path):
    with pytest.raises(DataError) as caught:
        train(tmp_path / "run", source(200, range(0, 200, 4)), toys.recipe, max_bad=0.1, cache="ram")
    sentence = str(caught.value)
    assert "21 of 200 records are unreadable" in sentence
    assert "data.max_bad = 10 % allows: 21 × a: not numbers: … (such as '" in sentence
    assert "set data.max_bad=0.2, or more" in sentence
    assert str(tmp_path / "run" / "unreadable.csv") in sentence


@pytest.mark.parametrize("cache", ["off", "ram"])
def test_the_other_modality_of_a_broken_record_is_measured(tmp_path, cache):
    broken = list(range(0, 96, 8))
    evaluators = {"health": {"name": "health"}}
    train(tmp_path / "run", source(96, broken), evaluators=evaluators, max_bad=0.2, cache=cache, test=0.4)
    given = {"source": source(96, broken), "extensions": toys.extensions(), "device": "cpu"}
    sensorium.embed(tmp_path / "run", tmp_path / "all.npz", **given)
    found = np.load(tmp_path / "all.npz")
    absent = {name: np.flatnonzero(np.isnan(found[name]).all(1)).tolist() for name in ("a", "b")}
    assert len(found["a"]) == 96
    assert absent == {"a": broken, "b": []}


def test_fine_tuning_counts_in_the_same_way(tmp_path):
    records = source(120, [5, 50, 100])
    train(tmp_path / "run", records, toys.recipe, {}, max_bad=0.05)
    done = sensorium.finetune(
        tmp_path / "run",
        ["finetune.epochs=1", "finetune.seeds=1", "finetune.trees=5", "finetune.labels=[class]"],
        source=records,
        run_dir=tmp_path / "tuned",
        extensions=toys.extensions(),
        device="cpu",
    )
    assert done.run.status()["state"] == "finished"
    assert sorted(row["record"] for row in unreadable(tmp_path / "tuned")) == ["100", "5", "50"]
