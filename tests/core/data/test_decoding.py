"""Several values of one field: one is drawn in each epoch, all are read for evaluation."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from sensorium import BadSample, Batch, Modality, Several, Unreadable
from sensorium.data.arrays import ArraysSource
from sensorium.data.cache import CachePlace
from sensorium.data.decoding import RecordDecoder, learned_from, raw_values
from sensorium.data.loader import Loader, fill_cache
from sensorium.data.several import drawn
from sensorium.data.unreadable import UnreadableRecords
from sensorium.errors import PluginError
from sensorium.types import record_key


@dataclass
class Numbers(Batch):
    values: torch.Tensor


class Letters(Modality):
    """Letters as numbers."""

    def decode(self, raw):
        if not isinstance(raw, str) or not raw.isalpha():
            raise BadSample(f"{raw!r} is no letter")
        return ord(raw)

    def collate(self, examples):
        return Numbers(torch.tensor(examples))


RAWS = [["a", "b", "c"], "d", None, Several(["e", Unreadable("it is torn"), "f"]), [], ["7", "8"], ["9", "g"]]


@pytest.fixture
def source():
    return ArraysSource({"word": RAWS, "other": list("tuvwxyz")}, ids=[f"r{i}" for i in range(len(RAWS))])


def decoder(source, **options):
    return RecordDecoder(source, {"word": "word", "other": "other"}, {"word": Letters(), "other": Letters()}, **options)


def letters(batch):
    return "".join(map(chr, batch.values.tolist()))


def test_one_value_is_drawn_in_each_epoch(source):
    positions = np.arange(len(RAWS))
    made_of = [decoder(source, seed=3)[epoch, positions] for epoch in range(30)]
    words = [letters(made.records.batches["word"]) for made in made_of]
    assert words == [letters(decoder(source, seed=3)[epoch, positions].records.batches["word"]) for epoch in range(30)]
    assert {word[0] for word in words} == set("abc")
    assert {word[1] for word in words} == {"d"}
    assert {word[2] for word in words} == set("ef")  # what is unreadable gives its place to the next
    assert {word[3] for word in words} == {"g"}
    assert words != [letters(decoder(source, seed=4)[e, positions].records.batches["word"]) for e in range(30)]
    # A record's draw does not depend on the others of its batch.
    assert words[7][0] == letters(decoder(source, seed=3)[7, positions[:1]].records.batches["word"])
    assert all(letters(made.records.batches["other"]) == "tuvwxyz" for made in made_of)
    assert made_of[0].records.further == {}
    bad = {value.record for made in made_of for value in made.bad}
    assert bad == {"r3", "r5", "r6"}


def test_evaluation_reads_all_values(source):
    made = decoder(source, all_values=True)[0, np.arange(len(RAWS))]
    assert letters(made.records.batches["word"]) == "adeg"
    assert made.records.present["word"].tolist() == [True, True, False, True, False, False, True]
    second, third = made.records.further["word"]
    assert (letters(second.batch), second.present.tolist()) == ("bf", [True, False, False, True, False, False, False])
    assert (letters(third.batch), third.present.tolist()) == ("c", [True] + 6 * [False])
    assert "other" not in made.records.further
    assert sorted((value.record, value.reason) for value in made.bad)[0] == ("r3", "it is torn")
    moved = made.records.to("cpu")
    assert letters(moved.further["word"][0].batch) == "bf"


def test_modalities_are_fitted_to_all_values(source):
    assert list(raw_values(source, np.arange(7), "word", Letters())) == [*"abcdef", "7", "8", "9", "g"]


def test_a_cache_keeps_all_values_and_draws_as_the_decoder_does(source):
    bad = UnreadableRecords(7, 1.0)
    positions = np.array([6, 0, 1, 2, 3, 4, 5])
    cache = fill_cache(decoder(source, all_values=True), positions, bad=bad, workers=0, place=CachePlace())
    rows = cache.rows_of(np.arange(2, 7))
    taken = cache.take(rows)
    assert letters(taken.batches["word"]) == "eg"
    assert letters(taken.further["word"][0].batch) == "f"
    assert taken.further["word"][0].present.tolist() == [False, True, False, False, False]
    readable = cache.rows_of(np.array([0, 1, 4]))
    for epoch in range(20):
        drawn = cache.take(readable, (3, "value", epoch))
        decoded = decoder(source, seed=3)[epoch, np.array([0, 1, 4])].records
        assert letters(drawn.batches["word"]) == letters(decoded.batches["word"])
        assert drawn.present["word"].tolist() == decoded.present["word"].tolist() == [True, True, False]
        assert drawn.further == {}
    assert {letters(cache.take(rows, (3, "value", epoch)).batches["word"])[0] for epoch in range(20)} == set("ef")


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_the_same_with_a_cache(source, workers):
    def words(cache):
        loader = Loader(
            source,
            np.array([0, 1, 4]),
            {"word": "word", "other": "other"},
            {"word": Letters(), "other": Letters()},
            seed=5,
            batch=3,
            bad=UnreadableRecords(7, 1.0),
            workers=workers,
            cache=cache,
        )
        return [letters(records.batches["word"]) for (records,) in loader.batches(0, 12)]

    assert words("off") == words("ram")
    assert len({word.replace("d", "") for word in words("ram")}) == 3


def test_draws_are_uniform():
    keys = np.array([record_key(f"r{i}") for i in range(3000)])
    counts = np.full(3000, 5)
    frequencies = np.bincount(drawn(counts, keys, 0, "value", 7), minlength=5) / 3000
    assert np.abs(frequencies - 0.2).max() < 0.03
    same = drawn(counts, keys, 0, "value", 7) == drawn(counts, keys, 0, "value", 8)
    assert abs(same.mean() - 0.2) < 0.03


class Batched(ArraysSource):
    """Answers for many records at once, and counts how often it is asked; "x" cannot be read."""

    requests = 0

    def read(self, positions):
        self.requests += 1
        records = super().read(positions)
        return [BadSample("it is an x") if record.values["word"] == "x" else record for record in records]

    def __getitem__(self, index):
        record = super().__getitem__(index)
        if record.values["word"] == "!":
            raise RuntimeError("boom")
        return record


def batched(words):
    source = Batched({"word": list(words), "other": list(words)}, ids=[f"r{i}" for i in range(len(words))])
    return source, decoder(source)


def test_a_batch_is_one_request_in_which_one_unreadable_record_stands_for_itself():
    source, decodes = batched("abxd")
    made = decodes[0, np.array([3, 2, 1, 1])]
    assert source.requests == 1
    assert letters(made.records.batches["word"]) == "dbb"
    assert made.kept == [0, 2, 3]
    assert [(bad.record, bad.reason) for bad in made.bad] == [("r2", "it is an x")]


def test_a_request_that_fails_names_the_record_it_fails_on():
    failure = batched("ab!d")[1][0, np.array([1, 3, 2])].failure
    assert isinstance(failure, PluginError)
    assert str(failure) == "The source Batched failed to read the record 'r2': RuntimeError: boom."


def test_a_source_that_fails_on_records_together_is_at_fault(monkeypatch):
    _, decodes = batched("abcd")
    monkeypatch.setattr(Batched, "read", lambda self, positions: [][positions[0]])
    assert "reads each of 2 records alone, but failed to read them together with the record 'r1'" in str(
        decodes[0, np.array([1, 3])].failure
    )
    monkeypatch.setattr(Batched, "read", lambda self, positions: [self[0]])
    assert "returned 1 records where 2 were to be read" in str(decodes[0, np.array([1, 3])].failure)


def test_a_modality_learns_from_as_many_records_as_it_asks_for():
    class Few(Letters):
        fits = 100

    class Sparse(ArraysSource):
        def present(self, field):
            return np.arange(3_000) % 3 != 0

    source = Sparse({"word": ["a"] * 3_000})
    train = np.arange(1_000, 3_000)
    rows = learned_from(source, train, "word", Few())
    assert len(rows) == len(np.unique(rows)) == 100
    assert (np.diff(rows) > 0).all()
    assert (rows % 3 != 0).all(), "each of them has the value"
    assert abs(rows.mean() - 2_000) < 10, "from all of the train part"
    assert np.unique(rows % 5).size == 5, "no period of it"
    assert rows.tolist() == learned_from(source, train, "word", Few()).tolist()
    assert len(learned_from(source, train, "word", Letters())) == 1_334
    assert len(learned_from(source, train[:90], "word", Few())) == 60
