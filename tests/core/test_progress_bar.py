"""The bar: on a terminal beside its text, elsewhere a line at intervals."""

import logging

import pytest

from sensorium import progress_bar
from sensorium.progress_bar import ProgressBar


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: now[0])
    return now


def test_rate_and_time_left_count_from_the_start(clock):
    bar = ProgressBar(total=7300, done=100)
    clock[0] += 2.0
    assert bar.rate(110) == 5.0
    assert bar.time_left(110) == "23:58"
    assert bar.time_left(7300) == "0:00"
    clock[0] += 98.0
    assert bar.time_left(200) == "1:58:20"


def test_log_has_a_line_at_intervals_and_when_asked(clock, caplog):
    caplog.set_level(logging.INFO, "sensorium")
    bar = ProgressBar(total=9, seconds=30.0)
    for done, later, now in ((1, 10.0, False), (2, 25.0, False), (3, 10.0, False), (9, 1.0, True)):
        clock[0] += later
        bar.show(done, f"{done} done", line="step · ", now=now)
    bar.close()
    assert caplog.messages == ["step · 2 done", "step · 9 done"]


def test_a_terminal_has_a_bar_and_no_lines(monkeypatch, capsys, caplog):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    caplog.set_level(logging.INFO, "sensorium")
    bar = ProgressBar(total=3, seconds=0.0, counted=True)
    bar.show(2, "loss 0.5")
    bar.close()
    assert "2/3" in capsys.readouterr().err
    assert caplog.messages == []
