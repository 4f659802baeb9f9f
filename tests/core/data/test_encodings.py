"""Byte-order marks, encodings, and what of a text cannot be read."""

import gzip

import pytest

from sensorium import TextFile
from sensorium.data.encodings import encoding_of, fault_of, open_text, read_text
from sensorium.errors import BadSample, DataError

TEXT = "naïve 🦊\nsecond"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_byte_order_mark_says_the_encoding(tmp_path, encoding, zipped):
    raw = TEXT.encode(encoding)
    path = tmp_path / ("t.txt.gz" if zipped else "t.txt")
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    assert read_text(path) == TEXT
    assert read_text(path, "cp1252" if encoding != "utf-8" else None) == TEXT  # the mark is stronger than the option
    assert TextFile(path).read() == TEXT


def test_an_encoding_without_a_mark_is_named(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes(TEXT[:5].encode("cp1252"))
    assert read_text(path, "cp1252") == "naïve"
    with pytest.raises(BadSample, match=r"character 3 is the byte 0xef.*data\.source\.encoding, such as cp1252"):
        read_text(path)
    for name in ("klingon", "rot13"):
        with pytest.raises(DataError, match=f"no encoding '{name}': set data.source.encoding to utf-8, cp1252"):
            encoding_of(path, name)


def test_what_is_no_text_is_marked_and_named(tmp_path):
    path = tmp_path / "t.txt"
    for raw, encoding, reason in (
        (b"ab\xff", None, "character 3 is the byte 0xff"),
        (b"ab\xed\xa0\x80", None, "character 3 is the byte 0xed"),
        (b"\xff\xfea\0\x3d\xd8", None, "character 2 is the byte 0x3d"),  # half of a pair in UTF-16
        (b"a\0b", "ascii", "character 2 is NUL"),
    ):
        path.write_bytes(raw)
        with open_text(path, encoding) as file:
            assert reason in fault_of(file.read())
    assert fault_of("half \ud83d") == "character 6 is half of a surrogate pair"
    assert fault_of("whole 🦊") is None


def test_a_text_file_is_read_by_bytes_of_utf_8(tmp_path):
    plain, wide = tmp_path / "plain.txt", tmp_path / "wide.txt"
    plain.write_bytes(TEXT.encode("utf-8-sig"))
    wide.write_bytes(TEXT.encode("utf-16"))
    end = len(TEXT[:7].encode())
    assert (TextFile(plain).start, TextFile(wide).start) == (3, 0)
    assert TextFile(plain).read(3, 3 + end) == TextFile(wide).read(0, end) == TEXT[:7]
    plain.unlink()
    with pytest.raises(DataError, match=r"plain\.txt' cannot be read: No such file"):
        TextFile(plain)
