"""Anomalies: anomaly_events, the three ways to count them, the threshold from normal train records alone."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium import SensoriumError
from sensorium.evaluation.anomaly import Anomaly, anomaly_events, f1_scores
from tests.core.evaluation.tables_of_records import table

TRUTH = np.array([0, 1, 1, 1, 0, 0, 1, 1, 0], bool)


def flags(*rows):
    return np.isin(np.arange(len(TRUTH)), rows)


def test_events_are_runs_that_end_with_their_group():
    assert anomaly_events(TRUTH, ["g"] * 9) == [slice(1, 4), slice(6, 8)]
    assert anomaly_events(TRUTH, ["g"] * 2 + ["h"] * 7) == [slice(1, 2), slice(2, 4), slice(6, 8)]
    assert anomaly_events(np.ones(3, bool), ["g"] * 3) == [slice(0, 3)]


def f1(hits, false, missed):
    return 2 * hits / (2 * hits + false + missed)


@pytest.mark.parametrize(
    ("flagged", "delay", "plain", "adjusted", "delayed"),
    [
        ((1, 5), 0, f1(1, 1, 4), f1(3, 1, 2), f1(3, 1, 2)),
        ((2, 5), 0, f1(1, 1, 4), f1(3, 1, 2), 0.0),  # found too late: the event is lost, and only row 5 stays
        ((2, 5), 1, f1(1, 1, 4), f1(3, 1, 2), f1(3, 1, 2)),
        ((3, 7), 1, f1(2, 0, 3), 1.0, f1(2, 0, 3)),
        ((), 7, 0.0, 0.0, 0.0),
    ],
)
def test_events_are_found_whole_or_in_time(flagged, delay, plain, adjusted, delayed):
    found = f1_scores(TRUTH, flags(*flagged), anomaly_events(TRUTH, ["g"] * 9), delay)
    assert found == pytest.approx({"F1": plain, "F1 point-adjusted": adjusted, "F1 delay": delayed})


def parts(away=20.0):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    y = np.zeros(60, int)
    y[20:26] = 1
    return (
        table({"a": x}, {"odd": [0] * 200}),
        table({"a": rng.normal(size=(60, 4)) + away * y[:, None]}, {"odd": y.tolist()}, prefix="t"),
    )


def test_far_records_are_flagged():
    train, test = parts()
    evaluator = Anomaly()
    evaluator.fit(train)
    assert evaluator.measure(test)["F1"] > 0.9
    assert evaluator.measure(test)["average precision"] == 1
    assert evaluator.chance(test) == {"average precision": pytest.approx(0.1)}


def test_anomalies_of_the_train_part_teach_nothing_and_its_labels_may_be_absent():
    train, test = parts()
    dirty = table(
        {"a": np.concatenate([test.features["a"][20:26], train.features["a"]])}, {"odd": [1] * 6 + [None] * 200}
    )
    one, other = Anomaly(), Anomaly(label="odd")
    one.fit(train)
    other.fit(dirty)
    assert one.measure(test) == other.measure(test)
    train.labels = {}
    bare = Anomaly()
    bare.fit(train)
    assert bare.measure(test) == one.measure(test)


def test_what_cannot_be_measured_is_told():
    train, test = parts()
    with pytest.raises(SensoriumError, match="too few"):
        Anomaly().fit(train.select(np.arange(3)))
    words = table({"a": train.features["a"][:3]}, {"state": ["ok", "worn", "ok"]})
    with pytest.raises(SensoriumError, match=r"too few .*; labels of anomalies: 'ok', 'worn'"):
        Anomaly().fit(words)
    evaluator = Anomaly()
    evaluator.fit(train)
    with pytest.raises(SensoriumError, match="both normal records"):
        evaluator.measure(test.select(np.arange(10)))
    with pytest.raises(SensoriumError, match="neighbor"):
        Anomaly(neighbors=0)


def test_an_event_counts_once_and_so_does_a_false_alarm():
    evaluator = Anomaly()
    truth = np.array([0, 1, 1, 0, 0, 0, 1, 0], bool)
    flagged = np.array([0, 0, 1, 1, 0, 1, 0, 1], bool)
    groups = np.array(["g"] * 7 + ["h"], object)
    start = np.datetime64("2026-01-01") + np.arange(8) * np.timedelta64(12, "h")
    columns = {"group": groups, "label": truth, "prediction": flagged, "score": flagged.astype(float)}
    found = evaluator.metrics_of(columns)
    assert found["events detected"] == 0.5
    assert found["false alarms per 1000 records ↓"] == 250.0  # row 5, and row 7, which is of another group
    times = {"start": start, "end": start + np.timedelta64(12, "h")}
    (sentence,) = evaluator.remarks(columns | times)
    assert sentence.startswith("Events: 1 of 2 detected; 2 false alarms in 8 records, 4 days (0.5 a day).")


def test_scores_have_ids_and_time_stamps_and_a_plot():
    train, test = parts()
    test.times = [(float(row), float(row + 9)) for row in range(60)]
    evaluator = Anomaly()
    evaluator.fit(train)
    evaluator.measure(test)
    predictions = evaluator.predictions()
    assert list(predictions) == ["id", "group", "start", "end", "label", "prediction", "score"]
    assert predictions["end"][3] == 12
    assert evaluator.notes() == [f"threshold {evaluator.threshold:.4g}"]
    drawn = np.asarray(evaluator.plot(predictions))
    assert (drawn == (253, 226, 213)).all(2).sum() > 1000  # the event is shaded
