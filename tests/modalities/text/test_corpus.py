from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from sensorium import BadSample
from sensorium.errors import DataError, RecipeError
from sensorium.modalities.text.corpus import Corpus

TEXT = "First line.\nSecond, with é and 🎉.\r\n\n  \nשלום, third.\nFourth\x0b still fourth.\n\n\nLast without end"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_bytes(TEXT.encode())
    return path


def texts(source, split=None):
    return [source[i].values["text"] for i in range(len(source)) if split is None or source[i].split == split]


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80),
    window=st.integers(2, 12),
    fraction=st.sampled_from([None, 0.5, 0.9, 1.0]),
)
def test_windows_of_characters_can_be_rejoined(tmp_path_factory, text, window, fraction):
    path = tmp_path_factory.mktemp("corpus") / "c.txt"
    path.write_bytes(text.encode())
    source = Corpus(str(path), unit="characters", window=window, train_fraction=fraction)
    border = len(text) if fraction is None else int(fraction * len(text))
    for split, part in ((None, text),) if fraction is None else (("train", text[:border]), ("val", text[border:])):
        found = texts(source, split)
        assert all(len(w) <= window for w in found)
        assert all(len(w) == window for w in found[:-1])
        assert "".join([*found[:1], *(w[1:] for w in found[1:])]) == part  # one shared character, nothing lost
        assert sum(len(w) - 1 for w in found) == max(len(part) - 1, 0)  # every transition exactly once
        assert all(a[-1] == b[0] for a, b in pairwise(found))


def test_lines(file):
    source = Corpus(str(file), train_fraction=None)
    expected = ["First line.", "Second, with é and 🎉.", "שלום, third.", "Fourth\x0b still fourth.", "Last without end"]
    assert texts(source) == expected
    assert all(source[i].split is None for i in range(len(source)))
    assert texts(Corpus(str(file), window=2, train_fraction=None))[0] == "First line.\nSecond, with é and 🎉."


def test_paragraphs(file):
    source = Corpus(str(file), unit="paragraphs", train_fraction=0.5)
    assert texts(source) == [
        "First line.\nSecond, with é and 🎉.",
        "שלום, third.\nFourth\x0b still fourth.",
        "Last without end",
    ]
    assert [source.key(i).split for i in range(3)] == ["train", "val", "val"]


def test_the_leading_fraction_is_the_train_part(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text("\n".join(f"line {i}" for i in range(100)))
    source = Corpus(str(path))
    splits = [source.key(i).split for i in range(100)]
    assert splits == ["train"] * 90 + ["val"] * 10


def test_ids_are_stable_and_have_the_offset(file, tmp_path):
    source = Corpus(str(file))
    for i in range(len(source)):
        name, _, offset = source.key(i).id.partition(":")
        assert name == "corpus.txt"
        assert file.read_bytes()[int(offset) :].decode().startswith(source[i].values["text"])
        assert source[i].id == source.key(i).id
    with pytest.raises(IndexError):
        source[len(source)]


def test_several_files(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "c.txt").write_text("one\ntwo\n")
    source = Corpus([str(tmp_path / "a/c.txt"), str(tmp_path / "b/c.txt")], train_fraction=0.5, field="words")
    assert source.fields == ("words",)
    assert [source.key(i).id for i in range(4)] == ["a/c.txt:0", "a/c.txt:4", "b/c.txt:0", "b/c.txt:4"]
    assert [source[i].values["words"] for i in range(4)] == ["one", "two", "one", "two"]
    assert [source.key(i).split for i in range(4)] == ["train", "val"] * 2
    with pytest.raises(DataError, match="twice"):
        Corpus([str(tmp_path / "a/c.txt")] * 2)


def test_invalid_bytes_skip_a_line_but_stop_characters(tmp_path):
    path = tmp_path / "c.txt"
    path.write_bytes(b"good\nb\xe9d\nfine\n")
    source = Corpus(str(path))
    assert source[0].values["text"] == "good"
    with pytest.raises(BadSample, match="byte 6"):
        source[1]
    assert source[2].values["text"] == "fine"
    with pytest.raises(DataError, match="Byte 6"):
        Corpus(str(path), unit="characters", window=4)


def test_a_corpus_without_text_is_refused(tmp_path):
    with pytest.raises(DataError, match="no corpus file"):
        Corpus(str(tmp_path / "absent.txt"))
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n")
    with pytest.raises(DataError, match="no text"):
        Corpus(str(empty))
    empty.write_text("")
    with pytest.raises(DataError, match="no text"):
        Corpus(str(empty), unit="characters", window=8)


def test_a_removed_file_is_a_bad_sample(file):
    source = Corpus(str(file))
    file.unlink()
    with pytest.raises(BadSample, match="cannot be read"):
        source[0]


@pytest.mark.parametrize("options", [{"unit": "characters", "window": 1}, {"window": 0}, {"train_fraction": 0.0}])
def test_invalid_options_are_refused(file, options):
    with pytest.raises(RecipeError):
        Corpus(str(file), **options)
