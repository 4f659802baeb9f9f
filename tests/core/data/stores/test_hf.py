"""Datasets of Hugging Face: splits, class labels, files that stay as they are."""

import pickle
import re
from pathlib import Path

import datasets
import pytest

import sensorium
from sensorium.data.stores.hf import HFSource
from sensorium.errors import DataError

datasets.disable_progress_bars()
FEATURES = datasets.Features(
    {
        "label": datasets.ClassLabel(names=["neg", "pos"]),
        "image": datasets.Image(),
        "x": datasets.Array2D((1, 2), "int32"),
    }
)


def rows(count=4):
    columns = {
        "label": [i % 3 - 1 for i in range(count)],
        "image": [{"bytes": b"%d" % i, "path": f"{i}.png"} for i in range(count)],
        "x": [[[i, 0]] for i in range(count)],
    }
    return datasets.Dataset.from_dict(columns, features=FEATURES)


@pytest.fixture
def saved(tmp_path):
    parts = {"train": rows().select([3, 1, 0]), "validation": rows(2), "unsupervised": rows(1)}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "d"))
    return str(tmp_path / "d")


def test_splits_are_parts_and_class_labels_their_names(saved):
    source = HFSource(saved, labels=["label"])
    assert [(record.id, record.split, record.labels) for record in source] == [
        ("train/0", "train", {}),
        ("train/1", "train", {"label": "neg"}),
        ("train/2", "train", {}),
        ("val/3", "val", {}),
        ("val/4", "val", {"label": "neg"}),
    ]
    assert [record.values["image"] for record in source] == [b"3", b"1", b"0", b"0", b"1"]
    assert source[1].values["x"] == [[1, 0]]
    assert "the splits unsupervised of" in source.notes()[0]


def test_splits_may_be_named(saved):
    source = HFSource(saved, splits={"train": ["train", "unsupervised"], "test": "validation"}, columns={"x": "x"})
    assert [key.split for key in map(source.key, range(len(source)))] == ["train"] * 4 + ["test"] * 2
    with pytest.raises(DataError, match=r"has no split 'valid'.*its splits are: train, validation, unsupervised"):
        HFSource(saved, splits={"val": "valid"})


def test_a_dataset_that_would_be_fetched_is_asked_for(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"data.source.download=true"):
        HFSource("user/name")
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *args, **options: {"dev": rows(2)} if args[0] == "user/name" else {}
    )
    assert [record.split for record in HFSource("user/name", download=True)] == ["val", "val"]


def test_streams_are_refused_with_what_to_do():
    with pytest.raises(DataError, match=r"write it once, with .*save_to_disk"):
        HFSource("user/name", download=True, streaming=True)


@pytest.mark.parametrize("advice", [r"`(datasets\..*\))`", r"(sensorium\.pack\(.*?\))"])
def test_what_to_do_with_a_stream_can_be_done(advice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    if "pack" in advice:
        pytest.importorskip("lance")
    with pytest.raises(DataError) as refused:
        HFSource("user/name", download=True, streaming=True)
    stream = datasets.Dataset.from_dict({"text": ["a", "b"], "kind": [0, 1]}).to_iterable_dataset()
    names = {"sensorium": sensorium, "datasets": datasets, "stream": stream, "folder": "saved"}
    made = eval(re.search(advice, str(refused.value))[1], names)
    read = {"name": "hf", "path": "saved", "columns": {"text": "text"}} if made is None else dict(made.source)
    source = sensorium.build("sources", read.pop("name"), **read)
    assert [record.values["text"] for record in source] == ["a", "b"]


def test_another_process_maps_what_was_loaded_and_loads_nothing(saved, monkeypatch):
    source = HFSource(saved, labels=["label"])
    pickled = pickle.dumps(source)
    assert len(pickled) < 5000
    monkeypatch.setattr(datasets, "load_from_disk", None)
    assert pickle.loads(pickled).read([4, 0]) == source.read([4, 0])


def test_class_labels_are_groups_and_splits_by_their_names(tmp_path):
    kinds = {"x": datasets.Value("string"), "g": datasets.ClassLabel(names=["u", "v"])}
    kinds["part"] = datasets.ClassLabel(names=["train", "test"])
    rows = {"x": ["a", "b", "c"], "g": [1, -1, 0], "part": [0, 1, 0]}
    datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).save_to_disk(str(tmp_path / "d"))
    source = HFSource(str(tmp_path / "d"), group="g", split="part")
    keys = [source.key(i) for i in range(3)]
    assert [(key.group, key.split) for key in keys] == [("v", "train"), (None, "test"), ("u", "train")]


def test_a_split_without_rows_has_no_records(tmp_path):
    parts = {"train": rows(0), "validation": rows(2)}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "d"))
    assert [record.split for record in HFSource(str(tmp_path / "d"), labels=["label"])] == ["val", "val"]
    for name, of_name in (("rows", rows(0)), ("splits", datasets.DatasetDict())):
        of_name.save_to_disk(str(tmp_path / name))
        with pytest.raises(DataError, match="has no rows" if name == "rows" else "has no splits, so no rows"):
            HFSource(str(tmp_path / name))


def cut(file):
    file.write_bytes(file.read_bytes()[:-300])


@pytest.mark.parametrize(
    ("damaged", "damage", "reason"),
    [
        ("train/data-00000-of-00001.arrow", cut, r"cannot be read as a Hugging Face dataset: .*cut short"),
        ("train/data-00000-of-00001.arrow", Path.unlink, r"is missing: .*train/data-00000-of-00001.arrow; write it"),
        ("train/state.json", cut, r"cannot be read as a Hugging Face dataset: .*line 1"),
        ("train/state.json", Path.unlink, r"is missing: .*train/state.json"),
        ("train/dataset_info.json", Path.unlink, r"is missing: .*"),
        ("dataset_dict.json", lambda file: file.write_text("[]"), r"cannot be read as a Hugging Face dataset"),
    ],
)
def test_damaged_and_missing_files_are_said_in_a_sentence(saved, damaged, damage, reason):
    damage(Path(saved, damaged))
    with pytest.raises(DataError, match=reason):
        HFSource(saved)


def test_what_cannot_be_fetched_is_said_in_a_sentence(monkeypatch):
    def load(*args, **options):
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(DataError, match=r"cannot load 'user/name': Couldn't reach the Hub; check data.source"):
        HFSource("user/name", download=True)
