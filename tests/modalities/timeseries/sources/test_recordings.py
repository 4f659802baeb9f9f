from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from sensorium.data.splits import assign_parts
from sensorium.errors import DataError, RecipeError
from sensorium.modalities.timeseries.sources.recordings import Recording, RecordingSource, SlidingWindow


def recordings(lengths, **more):
    return [Recording(f"r{i}", np.arange(n, dtype=np.float32)[None], **more) for i, n in enumerate(lengths)]


@settings(max_examples=150, deadline=None)
@given(length=st.integers(1, 80), window=st.integers(1, 20), stride=st.integers(1, 25))
def test_windows_follow_the_stride_and_the_last_ends_with_the_recording(length, window, stride):
    spans = list(SlidingWindow(window, stride).spans(length))
    assert all(stop - start == min(window, length) and split is None for start, stop, split in spans)
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    starts = [start for start, _, _ in spans]
    assert starts == sorted(set(starts))
    assert all(b - a <= stride for a, b in pairwise(starts))
    assert starts[:-1] == [i * stride for i in range(len(starts) - 1)]


@settings(max_examples=150, deadline=None)
@given(
    length=st.integers(1, 200),
    window=st.integers(1, 20),
    stride=st.integers(1, 25),
    fractions=st.tuples(st.floats(0, 0.45), st.floats(0, 0.45)),
    gap=st.one_of(st.none(), st.integers(0, 10)),
)
def test_parts_in_time_are_disjoint_and_separated_by_the_gap(length, window, stride, fractions, gap):
    spans = list(SlidingWindow(window, stride, fractions, gap).spans(length))
    seen = {part: {step for a, b, p in spans if p == part for step in range(a, b)} for part in ("train", "val", "test")}
    order = [part for part in ("train", "val", "test") if seen[part]]
    for before, after in pairwise(order):
        assert min(seen[after]) - max(seen[before]) > (window if gap is None else gap)
    assert seen["train"] == set(range(len(seen["train"]))) or stride > window


def test_windows_of_one_recording_share_a_split():
    source = RecordingSource(recordings([50] * 20), "timeseries", SlidingWindow(10, 5), "a test")
    parts = assign_parts(source, {"val": 0.3, "test": 0.3}, seed=0)
    owners = {part: {source.key(int(i)).id.partition(":")[0] for i in found} for part, found in parts.items()}
    assert all(owners.values())
    assert not owners["train"] & owners["val"] | owners["train"] & owners["test"] | owners["val"] & owners["test"]
    record = source[3]
    assert record.id == "r0:15"
    assert record.values["timeseries"].tolist() == [list(range(15, 25))]


def test_groups_of_recordings_are_groups_of_windows():
    made = recordings([20, 20, 20])
    made[0].group = made[2].group = "g"
    source = RecordingSource(made, "x", SlidingWindow(10), "a test")
    assert {source.key(i).group for i in range(len(source))} == {"g", "r1"}
    whole = RecordingSource(made, "x", SlidingWindow(), "a test")
    assert [whole.key(i).group for i in range(3)] == ["g", None, "g"]


def test_a_single_recording_is_split_by_time_or_refused():
    with pytest.raises(DataError, match="by_time"):
        RecordingSource(recordings([100]), "x", SlidingWindow(10), "a test")
    source = RecordingSource(recordings([100]), "x", SlidingWindow(10, 2, (0.2, 0.2)), "a test")
    parts = assign_parts(source, {"val": 0.1, "test": 0.1}, seed=0)
    steps = {part: np.concatenate([source[int(i)].values["x"][0] for i in found]) for part, found in parts.items()}
    assert steps["train"].max() < 60
    assert steps["val"].min() == 70
    assert steps["val"].max() < 80
    assert steps["test"].min() == 90


def test_a_window_takes_the_most_frequent_label():
    labels = {"state": ["a"] * 4 + ["b"] * 3 + [None] * 3, "who": "me"}
    source = RecordingSource(recordings([10, 10], labels=labels), "x", SlidingWindow(5), "a test")
    assert [source.key(i).labels for i in range(2)] == [{"state": "a", "who": "me"}, {"state": "b", "who": "me"}]
    last = RecordingSource(recordings([10, 10], labels=labels), "x", SlidingWindow(3), "a test")
    assert last.key(3).labels == {"who": "me"}


def test_recordings_without_windows_are_refused():
    with pytest.raises(DataError, match="no series"):
        RecordingSource([], "x", SlidingWindow(), "a test")
    with pytest.raises(DataError, match="Two series"):
        RecordingSource(recordings([3]) * 2, "x", SlidingWindow(), "a test")
    with pytest.raises(DataError, match="split of its own"):
        RecordingSource(recordings([30], split="train"), "x", SlidingWindow(5, by_time=(0.1, 0.1)), "a test")


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 3},
        {"by_time": (0.1, 0.1)},
        {"window": 0},
        {"window": 3, "stride": 0},
        {"window": 3, "gap": 2},
        {"window": 3, "by_time": (0.5, 0.5)},
        {"window": 3, "by_time": (-0.1, 0.5)},
        {"window": 3, "by_time": (0.1, 0.1), "gap": -1},
    ],
)
def test_inconsistent_options_are_refused(options):
    with pytest.raises(RecipeError):
        SlidingWindow(**options)


@settings(max_examples=100, deadline=None)
@given(
    length=st.integers(1, 120),
    window=st.integers(1, 12),
    stride=st.integers(1, 15),
    ahead=st.integers(1, 6),
    fractions=st.tuples(st.floats(0, 0.45), st.floats(0, 0.45)),
)
def test_forecast_targets_are_in_the_part_of_their_window(length, window, stride, ahead, fractions):
    spans = list(SlidingWindow(window, stride, fractions, 0, ahead).spans(length))
    val, test = fractions
    ends = {"train": round((1 - val - test) * length), "val": round((1 - test) * length), "test": length}
    assert all(stop + ahead <= ends[part] for _, stop, part in spans)
    assert all(0 < stop - start <= window for start, stop, _ in spans)


def test_forecast_targets_are_labels():
    series = np.arange(20, dtype=np.float32)[None]
    series[0, 12] = np.nan
    windows = SlidingWindow(5, 5, (0.0, 0.0), ahead=3)
    source = RecordingSource([Recording("r", series)], "x", windows, "a test")
    assert source.key(0).labels == {"ahead 0": 4.0, "ahead 1": 5.0, "ahead 2": 6.0, "ahead 3": 7.0}
    assert source.key(1).labels == {"ahead 0": 9.0, "ahead 1": 10.0, "ahead 2": 11.0}  # a missing value is no label
    assert source.key(len(source) - 1).labels == {"ahead 0": 16.0, "ahead 1": 17.0, "ahead 2": 18.0, "ahead 3": 19.0}
    both = RecordingSource([Recording("r", np.concatenate([series, -series]))], "x", windows, "a test")
    assert both.key(0).labels["ahead 2, channel 1"] == -6
    with pytest.raises(DataError, match=r"lower data\.source\.ahead"):
        RecordingSource(recordings([3, 2]), "x", SlidingWindow(1, ahead=3), "a test")


def test_a_window_may_take_the_label_of_its_last_step():
    made = [Recording(f"r{i}", np.zeros((1, 6), np.float32), {"odd": [0, 0, 1, 0, 0, 1], "kind": "a"}) for i in (0, 1)]
    source = RecordingSource(made, "x", SlidingWindow(3, label_at="last"), "a test")
    assert [source.key(i).labels["odd"] for i in range(2)] == [1, 1]
    usual = RecordingSource(made, "x", SlidingWindow(3), "a test")
    assert [usual.key(i).labels["odd"] for i in range(2)] == [0, 0]
    assert source.key(0).labels["kind"] == "a"


def test_recordings_of_different_channel_sets_carry_their_names_and_have_no_forecasts():
    sets = [
        Recording(f"r{i}", np.zeros((len(names), 8), np.float32), channels=names)
        for i, names in enumerate([("a", "b"), ("c",), ("a", "b")])
    ]
    source = RecordingSource(sets, "timeseries", SlidingWindow(), "a source")
    assert [source[i].values["timeseries"].axes.channels for i in range(3)] == [("a", "b"), ("c",), ("a", "b")]
    with pytest.raises(DataError, match=r"2 different channel sets, and data\.source\.ahead makes a label of every"):
        RecordingSource(sets, "timeseries", SlidingWindow(window=4, by_time=(0, 0.2), ahead=1), "a source")
