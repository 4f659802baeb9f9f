"""Which modality reads a query: files by extension or decoding, words by decoding, and no file that is not there."""

import numpy as np
import pytest

from sensorium import BadSample, Modality
from sensorium.embeddings.query import read_query
from sensorium.errors import RunError


class Words(Modality):
    """Words of letters, without digits."""

    def decode(self, raw):
        if not isinstance(raw, str) or any(char.isdigit() for char in raw):
            raise BadSample("there is a digit")
        return raw

    def collate(self, examples):
        raise NotImplementedError


class Codes(Words):
    """Words of capitals alone."""

    def decode(self, raw):
        if not isinstance(raw, str) or not raw.isupper():
            raise BadSample("not in capitals")
        return raw


class Files(Words):
    """Files that begin with their kind."""

    reads_files = True

    def __init__(self, kind, *extensions):
        self.kind, self.known = kind, extensions

    @property
    def extensions(self):
        return self.known

    def decode(self, raw):
        if isinstance(raw, np.ndarray):
            return raw
        with open(raw) as file:
            if not file.read().startswith(self.kind):
                raise BadSample(f"it is no {self.kind}")
        return raw


@pytest.fixture
def modalities():
    return {"photo": Files("photo", ".png"), "sound": Files("sound", ".wav"), "code": Codes(), "caption": Words()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {"a.png": "photo", "a.wav": "sound", "a": "sound", "cut.png": "", "red": "?"}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("raw", "by"),
    [
        ("a.png", "photo"),
        ("a.wav", "sound"),
        ("a", "sound"),
        ("red", "caption"),
        ("a red car", "caption"),
        ("red and/or green", "caption"),
        ("He said hello.World", "caption"),
        ("C/C=C/C", "code"),
        ("OXO.CL", "code"),
        ("x" * 5000, "caption"),
    ],
)
def test_who_reads_a_query(folder, modalities, raw, by):
    assert read_query(raw, modalities).modality == by


def test_other_readers_are_told(folder, modalities):
    query = read_query("CAR", modalities)
    assert (query.modality, query.others) == ("code", ("caption",))
    assert read_query("CAR", modalities, by="caption").others == ()


@pytest.mark.parametrize("raw", ["no.png", "no.wav", "my photos/no.PNG", "no.jpeg", "no.csv", "./no", "/no/such"])
def test_words_that_look_like_a_file_are_none(folder, modalities, raw):
    with pytest.raises(RunError, match=rf"There is no file '{raw}'. To search for these words, name .*--by code"):
        read_query(raw, modalities)
    if not any(char.isdigit() for char in raw):
        assert read_query(raw, modalities, by="caption").example == raw


def test_without_a_modality_of_words_every_text_is_a_file(folder, modalities):
    files = {"photo": modalities["photo"]}
    with pytest.raises(RunError, match=r"There is no file 'a red car'. The run has no modality of texts; it has photo"):
        read_query("a red car", files)
    with pytest.raises(RunError, match=r"No modality of the run reads 'a.wav' \(photo: it is no photo\)"):
        read_query("a.wav", files)


def test_a_file_that_cannot_be_read_says_why(folder, modalities):
    with pytest.raises(RunError, match=r"No modality of the run reads 'cut.png' \(photo: it is no photo\)"):
        read_query("cut.png", modalities)
    with pytest.raises(RunError, match=r"There is no file '.*/no'\."):
        read_query(folder / "no", modalities)
    with pytest.raises(RunError, match="There is no file 'a red car'"):
        read_query("a red car", modalities, by="photo")


def test_values_go_to_who_decodes_them(folder, modalities):
    query = read_query(np.zeros(3), modalities)
    assert (query.modality, query.others, query.text) == ("photo", ("sound",), "(ndarray)")
    with pytest.raises(RunError, match="reads a value of the type int"):
        read_query(3, {"code": modalities["code"]})
