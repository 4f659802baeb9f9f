"""Tests of `sensorium.cli.output`: long lines of the log are wrapped between words on a terminal alone."""

import io
import logging

import pytest

from sensorium.cli.output import _ToStandardError, print_error

TEXT = "parts       image: views simclr, encoder cnn; text: views identity, encoder bag-of-words; objective clip"


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def write_to(stream, monkeypatch):
    """Make a stream the standard error, 60 columns wide. (A fixture cannot: pytest sets its own before each test.)"""
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("stream", [_Terminal(), io.StringIO()])
def test_a_record_with_an_indent_is_wrapped_on_a_terminal(stream, monkeypatch):
    write_to(stream, monkeypatch)
    record = logging.LogRecord("sensorium", logging.INFO, __file__, 1, TEXT, None, None)
    record.indent = 12
    lines = _ToStandardError().format(record).split("\n")
    if stream.isatty():
        assert len(lines) == 2
        assert max(map(len, lines)) <= 60
        assert all(line.startswith(" " * 12) for line in lines[1:])
        assert " ".join([lines[0], lines[1].strip()]) == TEXT
    else:
        assert lines == [TEXT]


@pytest.mark.parametrize("stream", [_Terminal(), io.StringIO()])
def test_an_error_is_wrapped_on_a_terminal(stream, monkeypatch):
    write_to(stream, monkeypatch)
    print_error(TEXT)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + stream.isatty()
    assert " ".join(" ".join(lines).split()) == " ".join(TEXT.split())
