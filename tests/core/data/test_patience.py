"""A store that fails for a moment is asked again; one that is down, or stands still, ends the run with a sentence."""

import errno
import logging
import multiprocessing
import os
import signal
import time
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sensorium.data import encodings, patience
from sensorium.data.arrays import ArraysSource
from sensorium.data.dataset import DatasetSource
from sensorium.data.encodings import open_text
from sensorium.data.folder import FolderSource
from sensorium.data.loader import from_workers
from sensorium.data.patience import Patience, is_transient
from sensorium.data.requests import request
from sensorium.data.selected import Selected
from sensorium.data.stores.parquet import ParquetSource
from sensorium.errors import BadSample, DataError, PluginError

from .toys import VectorModality, loader, numbers


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(patience, "PAUSE", 0.001)


class FlakyStore(ArraysSource):
    """Fails `failures` times at one record before it gives it."""

    def __init__(self, failures, error=None, at="3"):
        super().__init__({"x": numbers(8)})
        self.left, self.error, self.at = failures, error or ConnectionResetError(errno.ECONNRESET, "reset by peer"), at

    def __getitem__(self, index):
        if self.key(index).id == self.at and self.left:
            self.left -= 1
            raise self.error
        return super().__getitem__(index)


class FlakyRequests(FlakyStore):
    """Answers for many records at once, and fails as a whole."""

    def read(self, positions):
        return [self[position] for position in positions]


def ids(source, **options):
    return [id for (records,) in loader(source, batch=8, **options).batches(0, 1) for id in records.ids]


STORE_ERRORS = [
    ConnectionResetError(errno.ECONNRESET, "reset by peer"),
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ESTALE, "Stale file handle"),
    TimeoutError("the bucket took too long"),
    OSError("AWS Error NETWORK_CONNECTION during GetObject operation"),
    type("EndpointConnectionError", (Exception,), {})("Could not connect to the endpoint"),
]


@pytest.mark.parametrize("error", STORE_ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", [FlakyStore, FlakyRequests])
def test_what_a_store_fails_to_give_is_read_again(kind, error, caplog):
    with caplog.at_level(logging.WARNING, "sensorium"):
        found = ids(kind(2, error), patience=Patience(retries=2))
    assert sorted(found) == sorted(ids(ArraysSource({"x": numbers(8)})))
    assert "the store has failed 1 times so far" in caplog.text
    assert f"record '3': {type(error).__name__}" in caplog.text


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", [FlakyStore, FlakyRequests])
def test_a_store_that_is_down_ends_the_run_and_marks_no_record_as_unreadable(kind, workers):
    fed = loader(kind(99), batch=8, workers=workers, patience=Patience(retries=2))
    with pytest.raises(
        DataError, match=r"failed 3 times in 0.003 s to give the record '3' \(data.retries = 2\)"
    ) as told:
        list(fed.batches(0, 1))
    assert "ConnectionResetError: [Errno 104] reset by peer" in str(told.value)
    assert not len(fed.bad)


def test_a_file_that_its_disk_fails_to_give_is_read_again(monkeypatch):
    """A modality reads files itself, and says of every failure that the value is bad: the disk's own is its cause."""
    left = [2]

    class FileModality(VectorModality):
        def decode(self, raw):
            if left[0]:
                left[0] -= 1
                try:
                    raise OSError(errno.EIO, "Input/output error")
                except OSError as error:
                    raise BadSample("cannot be read") from error
            return super().decode(raw)

    fed = loader(ArraysSource({"x": numbers(8)}), modalities={"x": FileModality()}, batch=8)
    assert len(next(iter(fed.batches(0, 1)))[0].ids) == 8
    assert not len(fed.bad)


def test_a_text_that_its_disk_fails_to_give_is_no_damaged_text(tmp_path, monkeypatch):
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text("1 2")
    source = FolderSource(str(tmp_path), extensions=[".txt"])
    left = [2]

    def opened(path, *args, **kwargs):
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EIO, "Input/output error")
        return open_text(path, *args, **kwargs)

    monkeypatch.setattr(encodings, "open_text", opened)
    assert [record.values[source.fields[0]] for record in request(source, [0, 1, 2], Patience())] == ["1 2"] * 3


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file"),
        OSError(errno.EMFILE, "Too many open files"),
        ValueError("no number"),
        OSError("image file is truncated"),
        BadSample("damaged"),
    ],
)
def test_what_is_wrong_with_a_value_is_not_the_store(error):
    assert not is_transient(error)


@pytest.mark.parametrize(("number", "is_of_the_store"), [(errno.EIO, True), (errno.ENOENT, False)])
def test_a_number_of_the_system_that_an_error_only_says_is_its_number(number, is_of_the_store):
    assert is_transient(ValueError(f"Generic LocalFileSystem error: it fails (os error {number})")) is is_of_the_store


@pytest.mark.parametrize("said", ["Generic S3 error: error sending request", "The operation lacked valid credentials"])
def test_what_lance_says_of_an_object_store_is_the_store(said):
    assert is_transient(OSError(f"LanceError(IO): {said}"))
    assert not is_transient(OSError("LanceError(IO): Generic LocalFileSystem error: failed to fill whole buffer"))


def test_other_errors_are_not_asked_for_again():
    source = FlakyStore(1, KeyError("x"))
    with pytest.raises(PluginError, match="failed to read the record '3': KeyError"):
        ids(source)
    assert not source.left


def test_pauses_grow_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(patience, "PAUSE", 0.5)
    slept = []
    monkeypatch.setattr(patience.time, "sleep", slept.append)

    def down():
        raise ConnectionResetError("down")

    with pytest.raises(DataError, match=r"failed 10 times in 121\.5 s"):
        Patience(retries=9).read(down, lambda: "x")
    assert slept == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


class Stopping(VectorModality):
    """Its worker stands still at one value: stopped, or asleep in a call that does not return."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def decode(self, raw):
        if "5" in repr(raw):
            os.kill(os.getpid(), signal.SIGSTOP) if self.how == "stopped" else time.sleep(60)
        return super().decode(raw)


@pytest.mark.parametrize("how", ["stopped", "asleep"])
def test_a_worker_that_stands_still_is_given_up_and_its_record_named(how):
    begun = time.monotonic()
    source = ArraysSource({"x": numbers(8)})
    fed = loader(source, modalities={"x": Stopping(how)}, batch=8, workers=2, patience=Patience(timeout=2))
    with pytest.raises(DataError, match=r"has stood still for 2 s \(data.timeout\), reading the record '\d'"):
        list(fed.batches(0, 1))
    assert time.monotonic() - begun < 20
    assert not torch.multiprocessing.active_children()


class Slow(torch.utils.data.Dataset):
    """A piece takes longer than a worker may stand still, but each of its records less."""

    def __getitem__(self, piece):
        for position in piece:
            patience.begin_reading(int(position))
            time.sleep(0.3)
        return piece


def test_a_worker_that_gets_on_may_take_its_time():
    source = ArraysSource({"x": numbers(8)})
    (found,) = from_workers(Slow(), [np.arange(8)], 1, source, timeout=2)
    assert found.tolist() == list(range(8))


def test_a_damaged_row_group_is_so_many_unreadable_records(tmp_path):
    path = tmp_path / "shard.parquet"
    table = pa.table({"id": [str(i) for i in range(30)], "x": numbers(30)})
    pq.write_table(table, path, row_group_size=10, compression="zstd", use_dictionary=False)
    start = pq.ParquetFile(path).metadata.row_group(1).column(1).data_page_offset
    held = bytearray(path.read_bytes())
    held[start : start + 40] = bytes(40)
    path.write_bytes(held)
    source = ParquetSource(str(path), id="id", columns={"x": "x"})
    fed = loader(source, batch=30)
    (records,) = next(iter(fed.batches(0, 1)))
    assert sorted(map(int, records.ids)) == [*range(10), *range(20, 30)]
    assert len(fed.bad) == 10
    assert "row group 1 of" in next(iter(fed.bad.values.values())).reason


class HowStarted(torch.utils.data.Dataset):
    """A piece is how its worker was started."""

    def __getitem__(self, piece):
        return multiprocessing.get_start_method()


class Unforkable(ArraysSource):
    fork_safe = False


def test_workers_of_a_source_that_is_not_fork_safe_are_spawned():
    here = multiprocessing.get_start_method()
    for source, start in ((ArraysSource({"x": numbers(1)}), here), (Unforkable({"x": numbers(1)}), "spawn")):
        assert list(from_workers(HowStarted(), [0], 1, source, timeout=60)) == [start]
    assert list(from_workers(HowStarted(), [0], 0, Unforkable({"x": numbers(1)}), timeout=60)) == [here]


@pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="no worker is forked")
def test_lance_warns_of_forks_only_where_workers_may_read_it(tmp_path, monkeypatch):
    pytest.importorskip("lancedb")  # which warns in the worker
    pytest.importorskip("lance")
    said = tmp_path / "warnings.txt"
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_, **__: said.open("a").write(str(message)))
    ours, theirs = ArraysSource({"x": numbers(1)}), type("Theirs", (ArraysSource,), {})({"x": numbers(1)})
    of_dataset = DatasetSource([{"x": 1.0}], ["x"])
    for source, warned in ((ours, False), (theirs, True), (of_dataset, True)):
        for used in (source, Selected(source, np.array([0]))):
            said.write_text("")
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                list(from_workers(HowStarted(), [0], 1, used, timeout=60))
            for text in ("lance is not fork-safe", "lancedb fork support is experimental"):
                assert (text in said.read_text()) == warned
