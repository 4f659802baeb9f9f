"""Sources pickle as how to open them, and processes that are spawned open them themselves."""

import multiprocessing
import pickle

import numpy as np
import pytest
from torch.utils.data import DataLoader

from sensorium.data.decoding import RecordDecoder
from sensorium.data.folder import FolderSource
from sensorium.data.table import TableSource
from sensorium.errors import DataError
from tests.core.data import toys

ROWS = 20_000


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,kind\n" + "".join(f"{i} {i % 7},{'ab'[i % 2]}\n" for i in range(ROWS)))
    return path


def test_options_are_pickled_not_data(table):
    source = TableSource(str(table), labels=["kind"])
    pickled = pickle.dumps(source)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert [again[i] for i in (0, ROWS - 1)] == [source[i] for i in (0, ROWS - 1)]


def test_records_that_changed_meanwhile_are_told(table):
    pickled = pickle.dumps(TableSource(str(table), labels=["kind"]))
    text = table.read_text()
    table.write_text(text.replace(",b\n", ",c\n", 1))
    with pytest.raises(DataError, match="The source TableSource had other ids, labels, splits, groups or times"):
        pickle.loads(pickled)
    table.write_text(text + "7 7,a\n")
    with pytest.raises(DataError, match="had 20,000 records when it was opened, and has 20,001 now"):
        pickle.loads(pickled)


def test_workers_that_are_spawned_open_the_source_themselves(table):
    decoder = RecordDecoder(TableSource(str(table), labels=["kind"]), {"v": "x"}, {"v": toys.VectorModality()})
    work = [(0, np.array([2, 0])), (0, np.array([1]))]
    start = {"num_workers": 1, "multiprocessing_context": multiprocessing.get_context("spawn")}
    loader = DataLoader(decoder, None, sampler=work, collate_fn=_as_it_is, **start)
    for made, piece in zip(loader, work, strict=True):
        here = decoder[piece].records
        assert made.records.ids == here.ids
        assert made.records.batches["v"].values.equal(here.batches["v"].values)


def test_a_folder_is_listed_again(tmp_path):
    for name in "cab":
        (tmp_path / f"{name}.vec").write_text("1 2")
    source = FolderSource(str(tmp_path))
    again = pickle.loads(pickle.dumps(source))
    assert [again[i] for i in range(3)] == [source[i] for i in range(3)]


def _as_it_is(made):
    return made
