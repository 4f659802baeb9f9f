from dataclasses import dataclass

import numpy as np
import pytest
import torch

from sensorium import Batch, Modality, View, ViewGenerator
from sensorium.data.arrays import ArraysSource
from sensorium.data.decoding import RecordDecoder
from sensorium.data.memory import Space
from sensorium.data.mined_negatives import MinedNegatives
from sensorium.errors import DataError, PluginError
from sensorium.mining.result import MiningResult
from sensorium.models.learner import make_views
from tests.core.data.toys import cached


@pytest.fixture
def source():
    return ArraysSource({"a": list("pqrs"), "b": ["p'", "q'", None, "s'"]}, ids=["0", "1", "2", "3"])


@pytest.fixture
def path(tmp_path):
    queries, negatives = ["0", "0", "1"], ["1", "3", "0"]
    mined = MiningResult(queries, negatives, np.array([1, 2, 1]), np.full(3, 0.5), np.full(3, 0.9), {}, {"field": "b"})
    mined.write(tmp_path / "mined.parquet")
    return str(tmp_path / "mined.parquet")


def test_a_record_has_its_negatives_hardest_first(source, path):
    mined = MinedNegatives(source, path, 2)
    assert mined.field == "b"
    assert [mined.of(i) for i in range(4)] == [[1, 3], [0], [], []]
    assert [MinedNegatives(source, path).of(i) for i in range(4)] == [[1], [0], [], []]


def test_negatives_travel_beside_their_records(source, path):
    words = {"b": Words(), "a": Words()}
    decoder = RecordDecoder(source, {"a": "a", "b": "b"}, words, negatives=MinedNegatives(source, path, 2))
    records = decoder[0, np.array([3, 0, 1])].records
    assert records.positions.tolist() == [3, 0, 1]
    assert set(records.batches) == {"a", "b"}
    first, second = records.negatives["b"]
    assert first.present.tolist() == [False, True, True]
    assert first.batch.codes.tolist() == [ord("q"), ord("p")]
    assert second.present.tolist() == [False, True, False]
    assert second.batch.codes.tolist() == [ord("s")]
    alone = decoder[0, np.array([2])].records
    assert alone.negatives == {}
    views = make_views(records, {name: Plain() for name in words}, torch.Generator())
    assert [view.is_negative for view in views["b"]] == [False, True, True]
    assert torch.equal(views["b"][1].keys["record"], records.keys["record"][1:])
    moved = records.to("cpu").pin_memory() if torch.cuda.is_available() else records.to("cpu")
    assert torch.equal(moved.negatives["b"][0].batch.codes, first.batch.codes)


def test_a_cache_hands_out_the_same(source, path):
    fields, words = {"a": "a", "b": "b"}, {"a": Words(), "b": Words()}
    decoder = RecordDecoder(source, fields, words, negatives=MinedNegatives(source, path, 2))
    chunks = [np.array([0, 1]), np.array([2, 3])]
    cache = cached(decoder, chunks)
    for rows in (np.array([3, 0, 1]), np.array([2]), np.array([1, 3])):
        kept, made = cache.take(rows), decoder[0, rows].records
        assert kept.ids == made.ids
        assert kept.positions.tolist() == made.positions.tolist()
        found = {
            name: [(n.batch.codes.tolist(), str(n.present)) for n in kept.negatives[name]] for name in kept.negatives
        }
        assert found == {
            name: [(n.batch.codes.tolist(), str(n.present)) for n in made.negatives[name]] for name in made.negatives
        }


def test_a_cache_counts_the_memory_of_negatives(source, path, monkeypatch):
    """Seven values of four records, and three of their negatives, of 8 bytes each."""
    fields, words, rows = {"a": "a", "b": "b"}, {"a": Words(), "b": Words()}, np.array([0, 1, 2, 3])
    plain = RecordDecoder(source, fields, words)
    decoder = RecordDecoder(source, fields, words, negatives=MinedNegatives(source, path, 2))
    monkeypatch.setattr("sensorium.data.cache_share.memory", lambda: Space(99.0, 7 * 8 + 1))
    cached(plain, [rows])
    with pytest.raises(DataError, match=r"set data\.cache: disk, or off"):
        cached(decoder, [rows])


def test_a_source_that_fails_on_a_negative_is_named(source, path):
    class Failing(ArraysSource):
        def __getitem__(self, index):
            if index == 3:
                raise KeyError("gone")
            return super().__getitem__(index)

    failing = Failing({"a": list("pqrs"), "b": ["p'", "q'", None, "s'"]}, ids=["0", "1", "2", "3"])
    decoder = RecordDecoder(failing, {"b": "b"}, {"b": Words()}, negatives=MinedNegatives(source, path, 2))
    failure = decoder[0, np.array([0])].failure
    assert isinstance(failure, PluginError)
    assert "The source Failing failed to read the record '3'" in str(failure)


@dataclass
class Codes(Batch):
    codes: torch.Tensor


class Words(Modality):
    """The code of a word's first letter."""

    def decode(self, raw):
        return ord(raw[0])

    def collate(self, examples):
        return Codes(torch.tensor(examples))


class Plain(ViewGenerator):
    def __call__(self, batch, rng):
        return [View(batch)]


def test_negatives_are_values_of_the_modality_that_reads_their_field(source, path):
    mined = MinedNegatives(source, path, 2)
    assert mined.modality({"x": "a", "y": "b"}) == "y"
    with pytest.raises(DataError, match="which no modality of the recipe reads"):
        mined.modality({"x": "a"})


def test_no_negative_comes_from_outside_the_train_part(source, path):
    MinedNegatives(source, path, 2).keep_within(np.array([0, 1, 3]))
    with pytest.raises(DataError, match=r"1 negatives of .* lie outside the train part, the first is '3'"):
        MinedNegatives(source, path, 2).keep_within(np.array([0, 1, 2]))
    MinedNegatives(source, path, 1).keep_within(np.array([0, 1, 2]))  # the second one is not used


def test_what_does_not_belong_together_is_refused(source, path, tmp_path):
    with pytest.raises(DataError, match="has no mined negatives"):
        MinedNegatives(source, str(tmp_path / "absent.parquet"))
    with pytest.raises(DataError, match="the field 'b', which the source does not have"):
        MinedNegatives(ArraysSource({"a": list("pqrs")}), path)
    with pytest.raises(DataError, match=r"none with the id '3' \(1 such"):
        MinedNegatives(ArraysSource({"b": list("pqr")}), path)
