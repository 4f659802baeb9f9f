"""Embeddings as a stream: the same file whatever is interrupted and however many ranks, in flat memory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import sensorium
from sensorium.embeddings import stream
from sensorium.embeddings.file import EmbeddingFile
from sensorium.embeddings.parts import PartsFolder
from sensorium.errors import RunError
from tests import toys
from tests.distributed.ranks import on_ranks

GROUP = 16
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toys.train_pairs(tmp_path_factory.mktemp("stream") / "run")


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    monkeypatch.setattr(stream, "ROWS", GROUP)


SMALL = ["evaluate.batch=8", "data.workers=0"]


def known():
    return {"source": toys.incomplete_pairs(), "extensions": toys.extensions(), "device": "cpu"}


def embed(run, out, **options):
    return sensorium.embed(run, out, SMALL, **known(), **options)


def test_a_file_has_a_row_group_for_each_part_in_the_order_of_the_source(run, tmp_path):
    assert embed(run, tmp_path / "v.parquet") == 120
    file = pq.ParquetFile(tmp_path / "v.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [GROUP] * 7 + [8]
    assert file.read()["id"].to_pylist() == [known()["source"].key(i).id for i in range(120)]
    assert [path.name for path in tmp_path.iterdir()] == ["v.parquet"]


@pytest.mark.parametrize("stops", [(0, 3), (2, 1, 1)])
def test_an_interrupted_call_goes_on_and_makes_the_same_bytes(run, tmp_path, monkeypatch, stops):
    embed(run, tmp_path / "whole.parquet")
    wrote, write = [], PartsFolder.write
    for stop in stops:
        first = len(wrote)

        def stopping(self, number, rows, end=first + stop):
            if len(wrote) == end:
                raise KeyboardInterrupt
            wrote.append(number)
            write(self, number, rows)

        monkeypatch.setattr(PartsFolder, "write", stopping)
        with pytest.raises(KeyboardInterrupt):
            embed(run, tmp_path / "v.parquet")
        assert not (tmp_path / "v.parquet").exists()
    monkeypatch.setattr(
        PartsFolder, "write", lambda self, number, rows: [wrote.append(number), write(self, number, rows)]
    )
    embed(run, tmp_path / "v.parquet")
    assert wrote == list(range(8)), "no row group was made twice"
    assert (tmp_path / "v.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_parts_of_another_embedding_are_not_continued(run, tmp_path, monkeypatch):
    def stopped(**options):
        write = PartsFolder.write
        with monkeypatch.context() as patch:
            patch.setattr(PartsFolder, "write", lambda self, n, rows: write(self, n, rows) if n < 2 else 1 / 0)
            with pytest.raises(ZeroDivisionError):
                embed(run, tmp_path / "v.parquet", **options)

    stopped()
    with pytest.raises(
        RunError, match=r"v.parquet.parts holds parts of another embedding, with other precision: delete"
    ):
        embed(run, tmp_path / "v.parquet", half=True)
    with pytest.raises(RunError, match="with other records, part:"):
        embed(run, tmp_path / "v.parquet", part="test")
    assert embed(run, tmp_path / "v.parquet") == 120


KILLED = """
import os, signal, sys
from sensorium.embeddings import stream
from sensorium.embeddings.parts import PartsFolder
from tests.core.embeddings.test_stream import GROUP, embed

stream.ROWS, write = GROUP, PartsFolder.write
def killed(self, number, rows):
    write(self, number, rows)
    if number == 4:
        os.kill(os.getpid(), signal.SIGKILL)
PartsFolder.write = killed
embed(sys.argv[1], __import__("pathlib").Path(sys.argv[2]))
"""


def test_a_killed_process_leaves_what_the_next_one_goes_on_with(run, tmp_path, caplog):
    embed(run, tmp_path / "whole.parquet")
    out = tmp_path / "v.parquet"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(run), str(out)], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not out.exists()
    (out.with_name("v.parquet.parts") / f".00000005.arrow.{ended.returncode + 2**22}.tmp").touch()
    with caplog.at_level("INFO"):
        embed(run, out)
    assert "5 of 8 row groups are there already." in caplog.messages
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.parquet", "whole.parquet"]


MEASURED = """
import sys, resource, threading, time
import numpy as np
from sensorium import Source, Record
import sensorium
from tests import toys

class Endless(Source):
    fields = ("a", "b")
    def __init__(self, count): self.count = count
    def __len__(self): return self.count
    def key(self, i): return Record(str(i), {}, {"class": "x"})
    def __getitem__(self, i): return Record(str(i), {"a": VALUE, "b": VALUE}, {"class": "x"})

VALUE = toys.incomplete_pairs()[7].values["a"]
rss = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
known = dict(extensions=toys.extensions(), device="cpu", space="features")
sensorium.embed(sys.argv[1], sys.argv[2], ["data.workers=0"], source=Endless(20_000), **known)
before = rss()
sensorium.embed(sys.argv[1], sys.argv[3], ["data.workers=0"], source=Endless(200_000), **known)
print(rss() - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_records(tmp_path):
    wide = {"modality": "vector", "views": {"name": "noise", "views": 1}, "encoder": {"name": "mlp", "dim": 256}}
    run = toys.train_pairs(tmp_path / "run", modalities={"a": wide, "b": wide})
    out = [str(tmp_path / name) for name in ("small.parquet", "large.parquet")]
    told = subprocess.run([sys.executable, "-c", MEASURED, str(run), *out], cwd=ROOT, check=True, capture_output=True)
    grown = float(told.stdout.split()[-1])
    assert os.path.getsize(out[1]) > 0
    assert grown < 120, "180,000 more records of two modalities are 369 MB of features"


def embed_by_rank(rank, world, run, out, fails):
    stream.ROWS = GROUP
    if fails and rank == 1:
        write = PartsFolder.write
        PartsFolder.write = lambda self, n, rows: write(self, n, rows) if n < 3 else 1 / 0
    try:
        return embed(run, out)
    except ZeroDivisionError:
        return "failed"


def test_ranks_write_the_file_of_one_process_also_after_one_of_them_failed(run, tmp_path):
    embed(run, tmp_path / "whole.parquet")
    out = tmp_path / "v.parquet"
    assert on_ranks(2, embed_by_rank, tmp_path, run, out, True) == ["failed", "failed"]
    (tmp_path / "again").mkdir()
    assert on_ranks(3, embed_by_rank, tmp_path / "again", run, out, False) == [120] * 3
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_labels_and_captions_are_chosen(run, tmp_path):
    embed(run, tmp_path / "v.parquet", labels=[], captions=False)
    assert pq.read_schema(tmp_path / "v.parquet").names == ["id", "split", "a", "b"]
    with pytest.raises(RunError, match="no label 'clas', did you mean 'class'"):
        embed(run, tmp_path / "w.parquet", labels=["clas"])
    with pytest.raises(RunError, match=r"chosen for .parquet and .lance, not '.*v.npz'"):
        embed(run, tmp_path / "v.npz", half=True)


def test_half_precision_halves_numbers_and_says_what_is_beyond_its_range(run, tmp_path, monkeypatch):
    embed(run, tmp_path / "v.parquet")
    embed(run, tmp_path / "half.parquet", half=True)
    whole, half = (EmbeddingFile(tmp_path / name).table() for name in ("v.parquet", "half.parquet"))
    np.testing.assert_array_equal(half.features["a"], whole.features["a"].astype(np.float16).astype(np.float32))
    assert str(pq.read_schema(tmp_path / "half.parquet").field("a").type.value_type) == "halffloat"
    encode = sensorium.Learner.encode
    monkeypatch.setattr(
        sensorium.Learner, "encode", lambda *args: {space: 1e5 * x for space, x in encode(*args).items()}
    )
    with pytest.raises(RunError, match=r"embedding of 'a' of record '\d+' has \S+, beyond the largest float16, 65,504"):
        embed(run, tmp_path / "large.parquet", half=True)


def test_a_file_is_read_as_it_was_written(run, tmp_path):
    embed(run, tmp_path / "v.parquet")
    file = EmbeddingFile(tmp_path / "v.parquet")
    table, whole = file.table(part="test"), pq.read_table(tmp_path / "v.parquet").to_pylist()
    rows = [row for row in whole if row["split"] == "test"]
    assert table.ids == [row["id"] for row in rows]
    assert table.labels["class"].tolist() == [row["label.class"] for row in rows]
    for name in ("a", "b"):
        assert table.present[name].tolist() == [row[name] is not None for row in rows]
        np.testing.assert_array_equal(table.values(name).x, [row[name] for row in rows if row[name] is not None])
        found = list(file.vectors(name))
        assert np.concatenate([at for at, _ in found]).tolist() == [
            i for i, r in enumerate(whole) if r[name] is not None
        ]
    x, y = file.arrays("train", "a", "class")
    assert len(x) == len(y) == sum(row["split"] == "train" and row["a"] is not None for row in whole)
    tables = sensorium.evaluate_features(x, y, *file.arrays("test", "a", "class"), evaluators="knn")
    assert "accuracy" in tables["knn"].row("features").metrics
    with pytest.raises(RunError, match="no embeddings of 'c'"):
        next(file.vectors("c"))
    with pytest.raises(RunError, match="There is no file of embeddings"):
        EmbeddingFile(tmp_path / "none.parquet")


def test_search_and_mining_take_the_file_in_place_of_the_records(run, tmp_path):
    embed(run, tmp_path / "v.parquet")
    query = known()["source"][7].values["a"]
    asked = {"by": "a", "target": "b", "count": 9, "extensions": toys.extensions(), "device": "cpu"}
    of_file = sensorium.search(run, query, vectors=tmp_path / "v.parquet", **asked)
    of_records = sensorium.search(run, query, source=known()["source"], **asked)
    assert [hit.id for hit in of_file] == [hit.id for hit in of_records]
    assert of_file[0].labels == of_records[0].labels
    assert of_file[0].captions == of_records[0].captions
    assert of_file.searched == of_records.searched
    of_part = sensorium.search(run, query, vectors=tmp_path / "v.parquet", part="test", **asked)
    assert [hit.id for hit in of_part] == [
        hit.id for hit in sensorium.search(run, query, source=known()["source"], part="test", **asked)
    ]
    mined = [
        sensorium.mine(run, query="a", target="b", margin=0.0, vectors=vectors, **known())
        for vectors in (None, tmp_path / "v.parquet")
    ]
    assert mined[0].negatives == mined[1].negatives
    assert mined[0].queries == mined[1].queries


def test_a_file_of_other_weights_or_another_space_is_refused(run, tmp_path):
    other = toys.train_pairs(tmp_path / "other", seed=5)
    embed(other, tmp_path / "v.parquet")
    with pytest.raises(RunError, match="embedded with other weights"):
        sensorium.mine(run, vectors=tmp_path / "v.parquet", **known())
    embed(run, tmp_path / "f.parquet", space="features")
    with pytest.raises(RunError, match="vectors of the space 'features', not 'embedding'"):
        sensorium.mine(run, vectors=tmp_path / "f.parquet", **known())


def test_a_lance_dataset_has_the_same_rows_and_replaces_one_of_before(run, tmp_path):
    pytest.importorskip("lance")
    embed(run, tmp_path / "v.parquet", half=True)
    for options in ({}, {"half": True}):
        embed(run, tmp_path / "v.lance", **options)
    one, other = EmbeddingFile(tmp_path / "v.lance"), EmbeddingFile(tmp_path / "v.parquet")
    assert one.about == other.about
    assert len(one) == len(other) == 120
    for part in ("all", "test"):
        a, b = one.table(part=part), other.table(part=part)
        assert a.ids == b.ids
        assert a.labels["class"].tolist() == b.labels["class"].tolist()
        for name in ("a", "b"):
            np.testing.assert_array_equal(a.features[name], b.features[name])
    assert one.summaries([7, 3]) == other.summaries([7, 3])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.lance", "v.parquet"]
