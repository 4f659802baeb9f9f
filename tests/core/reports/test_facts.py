"""Facts of a run for the head of its page."""

import pytest

from sensorium.reports.facts import _time


@pytest.mark.parametrize(("since", "words"), [("00:00:04", "4 seconds"), ("00:02:30", "2.5 minutes")])
def test_a_short_run_took_seconds(since, words):
    status = {"started": "2026-01-01T00:00:00", "updated": "2026-01-01T01:00:00", "since": f"2026-01-01T{since}"}
    assert _time(status) == f"{words}, from 2026-01-01 00:00"
