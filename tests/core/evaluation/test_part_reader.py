"""What evaluation reads: the parts in order, decoded once where the recipe has a cache, from that of a training."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import sensorium
from sensorium.data.cache import Cache
from sensorium.evaluation.part_reader import PartReader
from sensorium.models.plan import make_plan
from sensorium.parallel import collectives
from sensorium.recipe import read_recipe
from sensorium.runs.run import Run
from tests import toys


@pytest.fixture
def decoded(monkeypatch):
    """The values that were decoded."""
    seen = []
    decode = toys.VectorModality.decode

    def noting(self, raw):
        seen.append(raw)
        return decode(self, raw)

    monkeypatch.setattr(toys.VectorModality, "decode", noting)
    return seen


def reader(tmp_path, cache, source=None):
    extensions = toys.extensions()
    recipe = toys.recipe(evaluate={"batch": 8, "probe": 20})
    recipe["data"] |= {"cache": cache}
    plan = make_plan(read_recipe(recipe, extensions.registry), extensions)
    run = Run.create(tmp_path / "run", plan.recipe, extensions)
    made = PartReader(plan, source or toys.vectors(), run)
    plan.modalities["a"].load_state({"mean": [0.0] * 8})
    return made


def ids(batches):
    return [id for records in batches for id in records.ids]


@pytest.mark.parametrize("cache", ["off", "ram"])
def test_a_part_comes_in_order_in_batches(tmp_path, cache):
    read = reader(tmp_path, cache)
    read.keep("all", torch.device("cpu"))
    assert [len(records) for records in read.batches("all")] == [8] * 12
    assert ids(read.batches("all")) == [str(i) for i in range(96)]
    assert ids(read.batches("val")) == [str(i) for i in read.parts["val"]]


def test_what_is_kept_is_decoded_once_and_what_is_not_each_time(tmp_path, decoded):
    read = reader(tmp_path, "ram")
    assert isinstance(read.keep("train", torch.device("cpu")), Cache)
    count = len(decoded)
    assert count == len(read.parts["train"])
    read.keep("train", torch.device("cpu"))
    read.keep("probe", torch.device("cpu"))  # a part of it
    assert ids(read.batches("probe")) == [str(i) for i in read.positions("probe")]
    assert ids(read.batches("train")) == [str(i) for i in read.parts["train"]]
    assert len(decoded) == count
    ids(read.batches("test"))
    ids(read.batches("test"))
    assert len(decoded) == count + 2 * len(read.parts["test"])


def test_slices_of_ranks_are_whole_batches_of_one_process(tmp_path, monkeypatch):
    read = reader(tmp_path, "off")
    whole = [records.ids for records in read.batches("train")]
    sliced = []
    monkeypatch.setattr(collectives, "world_size", lambda: 5)
    for rank in range(5):
        monkeypatch.setattr(collectives, "rank", lambda rank=rank: rank)
        sliced.append([records.ids for records in read.batches("train")])
    assert [batch for of_rank in sliced for batch in of_rank] == whole
    assert max(map(len, sliced)) - min(map(len, sliced)) <= 1


@pytest.mark.parametrize("cache", ["off", "ram"])
def test_a_training_and_its_evaluation_decode_each_record_once(tmp_path, decoded, cache):
    """Tables are the same from the cache of the training and decoded anew."""
    recipe = toys.recipe(evaluate={"evaluators": {"knn": {"label": "class", "k": 5}}, "every": 1.0})
    recipe["data"] |= {"cache": cache}
    source = toys.vectors()
    run = sensorium.fit(recipe, source=source, run_dir=tmp_path / "run", extensions=toys.extensions()).run
    values = [source[i].values["a"] for i in range(len(source))]
    counts = np.array([decoded.count(value) for value in values])
    if cache == "ram":
        assert counts.tolist() == [1] * len(source)
    table = (run.folder / "evaluations" / "knn.json").read_text()
    anew = ["data.cache=off"]
    sensorium.evaluate(run.folder, overrides=anew, source=source, extensions=toys.extensions(), device="cpu")
    assert (run.folder / "evaluations" / "knn.json").read_text() == table


def test_finetuning_decodes_each_record_once(tmp_path, decoded):
    recipe = toys.recipe(evaluate={"evaluators": {}})
    recipe["data"] |= {"cache": "ram"}
    source = toys.vectors()
    run = sensorium.fit(recipe, source=source, run_dir=tmp_path / "run", extensions=toys.extensions()).run
    decoded.clear()
    changes = ["finetune.labels=[class]", "finetune.epochs=2", "finetune.seeds=2"]
    sensorium.finetune(run.folder, changes, source=source, extensions=toys.extensions(), device="cpu")
    assert len(decoded) == len(source)


def test_of_a_large_part_a_sample_is_measured_and_the_table_says_so(tmp_path):
    recipe = toys.recipe(evaluate={"evaluators": {"knn": {"label": "class", "k": 5}}})
    known = {"source": toys.vectors(), "extensions": toys.extensions(), "device": "cpu"}
    run = sensorium.fit(recipe, source=known["source"], run_dir=tmp_path / "run", extensions=known["extensions"]).run
    whole = (run.folder / "evaluations" / "knn.json").read_text()
    ids, tables = [], []
    for count in (8, 16, 1000):
        tables.append(sensorium.evaluate(run.folder, overrides=[f"evaluate.records={count}"], **known)["knn"])
        ids.append(set(pq.read_table(run.folder / "evaluations" / "knn-predictions.parquet")["id"].to_pylist()))
    assert (tables[0].public()["train"], tables[0].public()["test"]) == (8, 8)
    assert any(remark.startswith("Sampled: 8 of ") and "chosen by id" in remark for remark in tables[0].remarks)
    assert ids[0] < ids[1], "a smaller sample is part of a larger one"
    assert (run.folder / "evaluations" / "knn.json").read_text() == whole
