"""An index of records: added, updated, filtered, exact and approximate."""

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

import sensorium
from sensorium.data.arrays import ArraysSource
from sensorium.errors import RunError
from sensorium.indexing import records, update
from sensorium.indexing.records import RecordIndex
from tests import toys

pytestmark = pytest.mark.skipif(find_spec("lancedb") is None, reason="needs lancedb")
COUNT = 120
PAIRS = toys.vectors(count=COUNT)


def pairs(rows=range(COUNT), changed=(), **labels):
    """Return some of the pairs, their classes as words; those changed have another second value."""
    of = [PAIRS[row].values for row in rows]
    values = {
        "a": [value["a"] for value in of],
        "b": [PAIRS[(row + 1) % COUNT].values["b"] if row in changed else PAIRS[row].values["b"] for row in rows],
    }
    words = [f"it's {PAIRS.key(row).labels['class']}" for row in rows]
    splits = [("train", "val", "test")[row % 3] for row in rows]
    return ArraysSource(values, {"class": words, **labels}, [f"r{row}" for row in rows], splits)


def known(source=None):
    return {"source": source or pairs(), "extensions": toys.extensions(), "device": "cpu"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index") / "run"
    recipe = toys.pair_recipe() | {"train": {"epochs": 5, "accelerator": "cpu"}}
    sensorium.fit(recipe, source=pairs(), run_dir=folder, extensions=toys.extensions())
    return folder


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """An index of all pairs."""
    folder = tmp_path_factory.mktemp("whole") / "index"
    sensorium.index(run, folder, **known())
    return folder


def search(run, folder, count=10, **options):
    asked = {"source": None, "extensions": toys.extensions(), "device": "cpu"}
    return sensorium.search(run, PAIRS[7].values["a"], by="a", vectors=folder, count=count, **asked, **options)


def test_new_records_are_added_changed_ones_updated_and_all_others_left(run, tmp_path, monkeypatch):
    monkeypatch.setattr(update, "TOGETHER", 32)
    first = sensorium.index(run, tmp_path, **known(pairs(range(100))))
    assert (first.added, first.updated, first.unchanged, first.records) == (100, 0, 0, 100)
    again = sensorium.index(run, tmp_path, **known(pairs(range(100))))
    assert (again.added, again.updated, again.unchanged, again.records) == (0, 0, 100, 100)
    more = sensorium.index(run, tmp_path, **known(pairs(range(10, COUNT), changed=(11, 13))))
    assert (more.added, more.updated, more.unchanged, more.records) == (20, 2, 88, 120)
    (kept,) = RecordIndex(tmp_path).records(["r3"])  # it is among the first records only
    assert kept.summary.labels == {"class": f"it's {PAIRS.key(3).labels['class']}"}
    assert not (tmp_path / "incoming.parquet").exists()


def test_a_folder_of_other_files_is_left_alone(run, tmp_path, monkeypatch):
    (tmp_path / "mine.csv").touch()
    with pytest.raises(RunError, match=r"holds other files and no index: name a new folder\.$"):
        sensorium.index(run, tmp_path, **known())
    with pytest.raises(RunError, match=r"mine.csv' is a file, and an index is a folder: name a new folder\.$"):
        sensorium.index(run, tmp_path / "mine.csv", **known())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]


def test_an_interrupted_first_call_is_continued(run, tmp_path, monkeypatch):
    def stopped(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("sensorium.embeddings.stream.PartsFolder.join", stopped)
        with pytest.raises(KeyboardInterrupt):
            sensorium.index(run, tmp_path, **known())
    assert [path.name for path in tmp_path.iterdir()]
    assert sensorium.index(run, tmp_path, **known()).added == COUNT


def test_unreadable_values_of_other_records_are_not_those_of_the_run(run, tmp_path):
    copied = shutil.copytree(run, tmp_path / "run")
    for count, table in ((9, "unreadable-other.csv"), (COUNT, "unreadable.csv")):
        source = pairs(range(count))
        source._values["a"][3] = "no numbers"
        sensorium.embed(copied, tmp_path / f"{count}.parquet", **known(source))
        assert [path.name for path in copied.glob("unreadable*")] == [table]
        assert "no numbers" in (copied / table).read_text()
        (copied / table).unlink()


def test_what_an_index_was_made_of_is_known_without_the_library(whole, monkeypatch):
    about = RecordIndex(whole).about
    monkeypatch.setattr(records, "RecordIndex", None)  # workers that are forked after its import are not safe
    assert records.identity_of(whole).about == about


def test_a_label_that_is_new_becomes_a_column(run, tmp_path):
    sensorium.index(run, tmp_path, **known(pairs(range(50))))
    more = sensorium.index(run, tmp_path, **known(pairs(range(40, 60), weight=[float(row) for row in range(40, 60)])))
    assert (more.added, more.updated) == (10, 10)
    index = RecordIndex(tmp_path)
    assert set(index.labels) == {"class", "weight"}
    assert [found.id for found in index.first(99, index.condition(where="weight > 57"))] == ["r58", "r59"]
    with pytest.raises(RunError, match=r"'label.weight' is string in these records and double in"):
        sensorium.index(run, tmp_path, **known(pairs(range(3), weight=["light", "light", "heavy"])))


def test_a_label_without_any_value_takes_the_type_of_its_first(run, tmp_path):
    sensorium.index(run, tmp_path, **known(pairs(range(50), note=[None] * 50)))
    assert RecordIndex(tmp_path).labels == ("class",)
    more = sensorium.index(run, tmp_path, **known(pairs(range(40, 60), note=[None] * 10 + ["good"] * 10)))
    assert (more.added, more.updated) == (10, 0)
    index = RecordIndex(tmp_path)
    assert index.count("a", index.condition(labels={"note": "good"})) == 10
    again = sensorium.index(run, tmp_path, **known(pairs(range(40, 60), note=[None] * 20)))
    assert (again.updated, again.unchanged) == (10, 10)


def test_an_index_finds_what_the_records_give(run, whole):
    index, source = search(run, whole, 20), sensorium.search(run, PAIRS[7].values["a"], by="a", count=20, **known())
    assert [hit.id for hit in index] == [hit.id for hit in source]
    np.testing.assert_allclose([hit.score for hit in index], [hit.score for hit in source], atol=1e-5)
    assert [hit.labels for hit in index] == [hit.labels for hit in source]
    assert [hit.captions for hit in index] == [hit.captions for hit in source]
    assert (index.searched, index.target) == (COUNT, "b")
    assert Image.open(index[0].previews["b"]).size == (16, 16)


def test_filters_and_parts_choose_what_is_searched(run, whole):
    found = search(run, whole, 99, where="class = 'it''s 1' AND split <> 'train'")
    expected = {f"r{row}" for row in range(COUNT) if row % 3 and PAIRS.key(row).labels["class"] == 1}
    assert {hit.id for hit in found} == expected
    assert found.searched == len(expected)
    assert {hit.id for hit in search(run, whole, 99, part="val")} == {f"r{row}" for row in range(1, COUNT, 3)}
    with pytest.raises(RunError, match=r"The filter cannot be read \(No field named shape\): .*label.class"):
        search(run, whole, where="shape = 'round'")
    with pytest.raises(RunError, match=r"The filter cannot be read \(Expected: an expression\): "):
        search(run, whole, where="split = ")
    assert search(run, whole, 99, where="split = 'val' -- the second part").searched == len(range(1, COUNT, 3))
    for comment in ("/* it's */", "-- it's\n"):
        found = search(run, whole, 99, where=f"split = 'val' {comment} AND class <> '99'")
        assert found.searched == len(range(1, COUNT, 3))
    with pytest.raises(RunError, match=r"No record of .* that fulfills .*99.* has 'b': there is nothing to search"):
        search(run, whole, where="class = '99'")


def test_a_filter_needs_an_index(run, tmp_path):
    for missing in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match=r"' holds no index of records; `sensorium index RUN .*` makes one"):
            sensorium.search(run, "1", vectors=missing, **known())
    with pytest.raises(RunError, match=r"A filter is for an index: `sensorium index .*` makes one"):
        sensorium.search(run, "1", where="split = 'train'", **known())


def test_an_index_of_other_weights_is_refused(run, whole, tmp_path):
    recipe = toys.pair_recipe(seed=1) | {"train": {"epochs": 1, "accelerator": "cpu"}}
    sensorium.fit(recipe, source=pairs(), run_dir=tmp_path / "other", extensions=toys.extensions())
    with pytest.raises(RunError, match="embedded with other weights"):
        search(tmp_path / "other", whole)
    with pytest.raises(RunError, match="embedded with other weights"):
        sensorium.index(tmp_path / "other", whole, **known())
    assert not (whole / "incoming.parquet").exists()


def test_inverted_lists_reach_the_recall_that_is_said(run, tmp_path):
    made = sensorium.index(run, tmp_path, kind="ivf", **known())
    assert made.searched["b"].startswith("ivf of 11 lists over 120 vectors, nprobe ")
    assert RecordIndex(tmp_path).lists["b"].recall >= 0.95
    assert [hit.id for hit in search(run, tmp_path, 3)] == [hit.id for hit in search(run, tmp_path, 3)]
    exact = sensorium.index(run, tmp_path, kind="exact", **known())
    assert (exact.unchanged, exact.searched["b"]) == (COUNT, "exact search")
    assert json.loads((tmp_path / "index.json").read_text()) == {}


def test_an_index_is_made_of_a_file_of_vectors(run, whole, tmp_path):
    sensorium.embed(run, tmp_path / "v.parquet", **known())
    made = sensorium.index(run, tmp_path / "index", vectors=tmp_path / "v.parquet", previews=False, **known())
    assert made.added == COUNT
    assert [hit.id for hit in search(run, tmp_path / "index")] == [hit.id for hit in search(run, whole)]
    assert search(run, tmp_path / "index")[0].previews == {}
    assert (tmp_path / "v.parquet").exists()
    drawn = sensorium.index(run, tmp_path / "index", **known())
    assert drawn.updated == COUNT  # they have previews now


def test_an_index_is_read_like_a_file_of_vectors(run, whole):
    pytest.importorskip("lance")
    file = sensorium.EmbeddingFile(whole / "records.lance")
    assert (len(file), set(file.modalities), file.labels) == (COUNT, {"a", "b"}, ("class",))


def test_without_the_library_a_sentence_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr(records, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"needs LanceDB: run pip install 'sensorium\[index\]'"):
        sensorium.index(run, **known())
