import time
from itertools import pairwise

import numpy as np
import pytest
import torch

from sensorium import BadSample
from sensorium.errors import DataError, RecipeError
from sensorium.modalities.text.modality import BASELINE, CHARACTERS_PER_TOKEN, TextModality, _hash_index


def text_of(modality, example):
    return modality.tokenizer.decode(example.tolist())


@pytest.mark.parametrize("raw", ["the cat", b"the cat", "🎉 مرحبا\x00\x07 שלום", np.str_("the cat")])
def test_decodes_strings_and_bytes(modality, raw):
    example = modality.decode(raw)
    assert example.dtype == torch.int64
    assert text_of(modality, example) == (raw.decode() if isinstance(raw, bytes) else raw)
    assert (example[0], example[-1]) == (*modality.tokenizer.start, *modality.tokenizer.end)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "empty"),
        (b"", "empty"),
        (" \t\n\u3000", "blank"),
        (b"caf\xe9 noir", "byte 3 is not UTF-8"),
        ("half \ud83d", "surrogate"),
        (None, "NoneType"),
        (float("nan"), "float"),
        (["a", "b"], "list"),
    ],
)
def test_invalid_values_are_refused(modality, raw, reason):
    with pytest.raises(BadSample, match=reason):
        modality.decode(raw)


def test_a_text_that_leaves_no_token_is_refused():
    with pytest.raises(BadSample, match="no token"):
        TextModality("open_clip").decode("<end_of_text>")


def test_long_texts_are_truncated_and_keep_their_end_token(modality):
    example = modality.decode("word " * 10_000)
    assert len(example) == modality.length
    assert example[-1] == modality.tokenizer.end[0]
    assert torch.equal(example[:-1], modality.decode("word " * 50)[:-1])


@pytest.mark.parametrize("name", ["bpe", "characters", "open_clip"])
@pytest.mark.parametrize("line", ["x" * 1_000_000, "word " * 200_000, "🎉" * 250_000])
def test_a_line_of_a_megabyte_is_fast(name, line, sentences):
    modality = TextModality(name, vocab=300, length=77)
    if not modality.is_fitted:
        modality.fit(sentences)
    start = time.perf_counter()
    assert len(modality.decode(line)) == 77
    assert time.perf_counter() - start < 2


def test_no_more_of_a_line_is_read_than_can_matter(modality, monkeypatch):
    """Some tokenizers take time in the square of a word's length."""
    lengths = []
    monkeypatch.setattr(modality.tokenizer, "encode", lambda text: lengths.append(len(text)) or [9])
    modality.decode("x" * 1_000_000)
    assert lengths == [CHARACTERS_PER_TOKEN * modality.length]


def test_lower(sentences):
    modality = TextModality(vocab=300, lower=True)
    modality.fit(sentences)
    assert text_of(modality, modality.decode("The CAT")) == "the cat"


def test_whitespace_is_valid_text_for_characters_only(sentences):
    modality = TextModality("characters")
    modality.fit([*sentences, "\n"])
    assert text_of(modality, modality.decode("\n ")) == "\n "


def test_fit_skips_invalid_values_and_needs_a_text(sentences):
    modality = TextModality(vocab=300)
    assert not modality.is_fitted
    with pytest.raises(DataError, match="no text"):
        modality.fit(iter([None, "", b"\xff"]))
    modality.fit(iter([None, *sentences, b"\xff"]))
    other = TextModality(vocab=300)
    other.fit(sentences)
    assert modality.state() == other.state()


def test_a_length_without_room_is_refused():
    with pytest.raises(RecipeError, match="no room"):
        TextModality(length=2)


def test_examples_and_previews_of_a_batch(modality, sentences, batch):
    examples = modality.examples(batch)
    assert [text_of(modality, e) for e in examples[:4]] == sentences[:4]
    image = modality.preview(examples[0])
    assert (image.mode, image.size) == ("RGB", (256, 256))
    assert np.asarray(image).min() < 128


@pytest.mark.parametrize("text", ["x" * 3000, "🎉 مرحبا \x00\x1b", "\x07", "word " * 600])
def test_any_text_previews(modality, text):
    assert modality.preview(modality.decode(text)).size == (256, 256)


def test_baseline_features_counts_tokens_and_pairs(modality, batch, sentences):
    features = modality.baseline_features(batch)
    assert features.shape == (len(sentences), BASELINE)
    assert features.dtype == np.float32
    assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    counts = np.zeros(BASELINE)
    ids = modality.tokenizer.encode(sentences[0])
    for code in [*ids, *(a * 1_000_003 + b + 2**40 for a, b in pairwise(ids))]:
        counts[_hash_index(np.array([code], dtype=np.uint64), BASELINE)] += 1
    expected = np.log1p(counts)
    assert np.allclose(features[0], expected / np.linalg.norm(expected), atol=1e-5)


def test_baseline_features_sees_order_but_no_padding(modality):
    one, other = (modality.decode(t) for t in ("the cat sees the dog", "the dog sees the cat"))
    together = modality.baseline_features(modality.collate([one, other, modality.decode("word " * 20)]))
    assert np.array_equal(together[:1], modality.baseline_features(modality.collate([one])))
    assert 0.3 < together[0] @ together[1] < 0.999


def test_texts_that_are_cut_are_said_with_the_option():
    modality = TextModality(tokenizer="characters", length=10)
    texts = ["short", "a text of many characters", "another one that is long", "x"]
    modality.fit(texts)
    (note,) = modality.notes([*texts, None, 3])
    assert note == "2 of 4 texts (50%) are cut at 10 tokens: raise the modality's length to keep them whole"
    assert modality.notes(["short", "x"]) == []
