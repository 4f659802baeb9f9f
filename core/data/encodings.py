"""Text out of files: byte-order marks, encodings, and the reason why a text is unreadable."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from pathlib import Path
from typing import IO, cast

from sensorium.errors import BadSample, DataError

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
MARK = "sensorium.mark"
"""Error handler of decoders: a byte that is no text becomes a lone surrogate, U+DC00 and its value."""
ADVICE = ": repair it, or name the file's encoding with data.source.encoding, such as cp1252 or utf-16"


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(MARK, _mark)


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file, the compression of a `.gz` taken off."""
    return cast(IO[bytes], gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb"))


def encoding_of(path: Path, encoding: str | None) -> tuple[str, int]:
    """Return the encoding of a text file, and how many bytes its byte-order mark has.

    Args:
        path: the file.
        encoding: its name where there is no byte-order mark; None is UTF-8.

    Raises:
        DataError: when there is no such encoding.
    """
    try:
        known = encoding is None or codecs.lookup(encoding)._is_text_encoding
    except LookupError:
        known = False
    if not known:
        raise DataError(
            f"There is no encoding '{encoding}': set data.source.encoding to utf-8, cp1252, utf-16, shift_jis or "
            "another one that Python knows."
        )
    with open_bytes(path) as file:
        start = file.read(4)
    found = next(((name, len(mark)) for mark, name in BYTE_ORDER_MARKS if start.startswith(mark)), None)
    return found or (codecs.lookup(encoding or "utf-8").name, 0)


def open_text(path: Path, encoding: str | None = None, newline: str | None = None) -> IO[str]:
    """Open a text file behind its byte-order mark; a byte that is no text becomes a lone surrogate (see `MARK`).

    Args:
        path: the file; the compression of a `.gz` is taken off.
        encoding: its encoding where it has no byte-order mark; None is UTF-8.
        newline: as in `open`.
    """
    name, mark = encoding_of(path, encoding)
    file = open_bytes(path)
    file.seek(mark)
    return io.TextIOWrapper(file, encoding=name, errors=MARK, newline=newline)


def marked_text(raw: bytes) -> str:
    """Return bytes in UTF-8 as text with lone surrogates in place of what is no text (see `MARK`)."""
    try:
        return raw.decode("utf-8", "surrogatepass")  # some are there already
    except UnicodeDecodeError:
        return raw.decode("utf-8", MARK)


def fault_of(text: str, advice: str = ADVICE) -> str | None:
    """Return why a text is unreadable, or None: it holds a byte that is no text, half of a surrogate pair, or NUL.

    Args:
        text: decoded with `MARK`.
        advice: what to do about bytes that are no text.
    """
    if text.isascii() and "\0" not in text:
        return None
    for place, character in enumerate(text, start=1):
        if "\udc00" <= character <= "\udcff":
            return f"character {place} is the byte 0x{ord(character) - 0xDC00:02x}, which is no text{advice}"
        if "\ud800" <= character <= "\udfff":
            return f"character {place} is half of a surrogate pair"
        if character == "\0":
            return f"character {place} is NUL{advice}"
    return None


def read_text(path: Path, encoding: str | None = None) -> str:
    """Return the text of a file.

    Raises:
        BadSample: when it cannot be read, is not in its encoding, or holds NUL.
    """
    try:
        with open_text(path, encoding) as file:
            text = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise BadSample(f"'{path}' cannot be read: {reason_of(error)}", "missing", str(path)) from error
    if reason := fault_of(text):
        raise BadSample(reason, "encoding", str(path))
    return text


def reason_of(error: BaseException) -> str:
    """Return the reason of an error of the system or of a decompression."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


class TextFile:
    """A file of text that is read in pieces, as bytes in UTF-8 whatever its encoding.

    Args:
        path: the file; the compression of a `.gz` is taken off.
        encoding: its encoding where it has no byte-order mark; None is UTF-8.

    Attributes:
        start: where its text begins: behind a byte-order mark.

    Raises:
        DataError: when there is no such encoding, or the file cannot be read.
    """

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self.path = path
        self._held: bytes | None = None
        try:
            name, self.start = encoding_of(path, encoding)
            if name != "utf-8" or path.suffix.lower() == ".gz":
                with open_text(path, encoding, newline="") as text:
                    self._held, self.start = text.read().encode("utf-8", "surrogatepass"), 0
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"'{path}' cannot be read: {reason_of(error)}.") from error

    def open(self) -> IO[bytes]:
        """Open it at the start of its text."""
        stream = self.path.open("rb") if self._held is None else io.BytesIO(self._held)
        stream.seek(self.start)
        return stream

    def read(self, start: int | None = None, end: int | None = None) -> str:
        """Return the text between two bytes; by default all of it.

        Raises:
            BadSample: when it cannot be read, or is not in the encoding of the file.
        """
        first = self.start if start is None else start
        try:
            with self.open() as stream:
                stream.seek(first)
                return stream.read(-1 if end is None else end - first).decode("utf-8")
        except OSError as error:
            raise BadSample(f"'{self.path}' cannot be read: {reason_of(error)}", "missing", str(self.path)) from error
        except UnicodeDecodeError as error:
            reason = f"byte {first + error.start} of {self.path} is no text{ADVICE}"
            raise BadSample(reason, "encoding", str(self.path)) from error
