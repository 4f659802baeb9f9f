import datetime as dt
import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from sensorium import BadSample
from sensorium.errors import DataError, RecipeError
from sensorium.modalities.timeseries.sources.table import SeriesTable

WIDE = """id,time,x,y,state
a,3,30,300,go
b,1,1,,stop
a,1,10,100,go
a,2,,200,halt
b,2,2,20,stop
"""
LONG = """who,when,what,much
a,3,x,30
b,1,x,1
a,1,y,100
a,1,x,10
a,3,y,300
a,2,y,200
b,2,y,20
b,2,x,2
"""
VALUES = {"a": [[10, np.nan, 30], [100, 200, 300]], "b": [[1, 2], [np.nan, 20]]}


@pytest.fixture
def write(tmp_path):
    def written(text, name="t.csv"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return written


def series(source):
    return {source.key(i).id: source[i].values["timeseries"] for i in range(len(source))}


def check(found, wanted=VALUES):
    assert list(found) == list(wanted)
    for name, values in found.items():
        np.testing.assert_array_equal(values, wanted[name])
        assert values.dtype == np.float32


def test_wide(write):
    source = SeriesTable(write(WIDE), id="id", time="time", labels=["state"])
    check(series(source))
    assert [source.key(i).labels for i in range(2)] == [{"state": "go"}, {"state": "stop"}]


def test_long(write):
    check(series(SeriesTable(write(LONG), id="who", time="when", channel="what", value="much")))
    turned = SeriesTable(write(LONG), id="who", time="when", channel="what", value="much", channels=["y", "x"])
    np.testing.assert_array_equal(series(turned)["a"], VALUES["a"][::-1])


def test_parquet_and_gzip_and_several_files(write, tmp_path):
    columns = {"id": ["a", "a"], "time": [dt.datetime(2024, 1, 2), dt.datetime(2024, 1, 1)], "x": [2.0, 1.0]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert series(SeriesTable(str(tmp_path / "t.parquet"), id="id", time="time"))["a"].tolist() == [[1, 2]]
    head, *rows = WIDE.splitlines(keepends=True)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((head + "".join(rows[:2])).encode()))
    second = write(head + "".join(rows[2:]), "b.csv")
    check(series(SeriesTable([str(tmp_path / "a.csv.gz"), second], id="id", time="time", channels=["x", "y"])))


def test_every_format_of_tables(write):
    check(series(SeriesTable(write(WIDE.replace(",", "\t"), "t.tsv"), id="id", time="time", channels=["x", "y"])))
    check(series(SeriesTable(write(WIDE, "t.txt"), id="id", time="time", channels=["x", "y"], format="csv")))
    rows = [line.split(",") for line in WIDE.splitlines()[1:]]
    lines = [
        json.dumps({"id": id, "time": int(time), "x": int(x) if x else None, "y": int(y) if y else None})
        for id, time, x, y, _ in rows
    ]
    check(series(SeriesTable(write("\n".join(lines), "t.jsonl"), id="id", time="time")))


def test_errors_of_several_files_name_the_file(write):
    paths = [write("t,x\n1,1\n2,2\n", "a.csv"), write("t,x\n3,3\n,4\n", "b.csv")]
    with pytest.raises(DataError, match=r"Row 2 of '.*b\.csv' has no time stamp"):
        SeriesTable(paths, time="t")


def test_without_id_and_time_rows_are_one_recording_in_their_order(write):
    source = SeriesTable(write("x,y\n3,1\n1,2\n2,\n", "log.csv"))
    check(series(source), {"log": [[3, 1, 2], [1, 2, np.nan]]})


def test_delimiter_and_decimal(write):
    source = SeriesTable(write("t;x\n1;0,5\n2;1,5\n"), time="t", delimiter=";", decimal=",")
    assert series(source)["t"].tolist() == [[0.5, 1.5]]


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(7)), form=st.sampled_from(["number", "float", "date"]))
def test_rows_are_sorted_by_time_stamp(tmp_path_factory, order, form):
    name = {"number": str, "float": lambda i: str(i / 7), "date": lambda i: f"2024-03-0{i + 1} 10:00:00"}[form]
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text("time,x\n" + "".join(f"{name(i)},{i}\n" for i in order))
    assert series(SeriesTable(str(path), time="time"))["t"].tolist() == [[0, 1, 2, 3, 4, 5, 6]]


REPEATED = "id,time,x\na,1,5\na,2,1\na,2,3\na,2,8\nb,2,7\n"


@pytest.mark.parametrize(("duplicates", "wanted"), [("first", 1), ("last", 8), ("mean", 4)])
def test_duplicate_time_stamps_follow_the_policy(write, duplicates, wanted):
    found = series(SeriesTable(write(REPEATED), id="id", time="time", duplicates=duplicates))
    assert found["a"].tolist() == [[5, wanted]]
    assert found["b"].tolist() == [[7]]


def test_duplicate_time_stamps_are_named_with_their_recording(write):
    with pytest.raises(DataError, match=r"recording 'a'.* 3 values of 'x'.*rows 2 and 3.*duplicates"):
        SeriesTable(write(REPEATED), id="id", time="time")
    # Values of different channels at one time stamp are one step.
    check(series(SeriesTable(write("time,x,y\n1,2,\n1,,3\n"), time="time")), {"t": [[2], [3]]})


@pytest.mark.parametrize("form", ["number", "date"])
def test_a_sampling_period_makes_gaps_missing_values(write, form):
    stamps = (10, 12, 13.1, 16) if form == "number" else tuple(f"2024-03-01 10:00:{s}" for s in (10, 12, 13, 16))
    source = SeriesTable(write("t,x\n" + "".join(f"{s},{i}\n" for i, s in enumerate(stamps))), time="t", step=1.0)
    np.testing.assert_array_equal(series(source)["t"], [[0, np.nan, 1, 2, np.nan, np.nan, 3]])
    with pytest.raises(DataError, match="step of 1e-05"):
        SeriesTable(write("t,x\n0,1\n9,2\n"), time="t", step=1e-5)


def test_splits_and_groups(write):
    text = "id,s,g,x\na,train,u,1\na,train,u,2\nb,test,u,3\n"
    source = SeriesTable(write(text), id="id", split="s", group="g")
    assert [(source.key(i).split, source.key(i).group) for i in range(2)] == [("train", "u"), ("test", "u")]
    with pytest.raises(DataError, match=r"recording 'a'.*differ in column 's'"):
        SeriesTable(write(text.replace("a,train,u,2", "a,val,u,2")), id="id", split="s", group="g")
    with pytest.raises(DataError, match="'nowhere'"):
        SeriesTable(write(text.replace("test", "nowhere")), id="id", split="s", group="g")


def test_windows_have_the_labels_of_their_steps(write):
    text = "t,x,state\n" + "".join(f"{i},{i},{'low' if i < 12 else 'high'}\n" for i in range(20))
    source = SeriesTable(write(text), time="t", labels=["state"], window=5, by_time=(0.0, 0.25), gap=0)
    found = [(source.key(i).split, source.key(i).labels["state"]) for i in range(len(source))]
    assert found == [("train", "low"), ("train", "low"), ("train", "high"), ("test", "high")]


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("id,x\n", {}, "no rows"),
        ("id,x\na,1\n,2\n", {"id": "id"}, "Row 2 .*empty id"),
        ("t,x\n1,1\n,2\n", {"time": "t"}, "Row 2 .*no time stamp"),
        ("t,x\nnoon,1\n", {"time": "t"}, r"'noon' \(row 1 of .*\), which is no time stamp"),
        ("t,x\n2026-03-01 00:00:10,1\nnoon,1\n", {"time": "t"}, r"'noon' \(row 2 of .*\), which is no time stamp"),
        ("t,x\n7,1\nnoon,1\n", {"time": "t"}, r"'noon' \(row 2 of .*\), which is no time stamp"),
        ("t,x\n1.5,1\ninf,1\n", {"time": "t"}, "time stamp inf"),
        ("t,x\n1,3\n1,broken\n", {"time": "t"}, r"'broken' \(row 2 of .*\), which is no number.*data\.source\.labels"),
        ("t,x\n2026-03-01,1\n", {}, r"'2026-03-01' \(row 1 of .*\), which is no number"),
        ("t,x\n1,2\n", {"time": "time"}, "no column 'time'"),
        ("machine,state,x\na,good,1\n", {"id": "machin"}, r"no column 'machin', did you mean 'machine'\? Its columns"),
        (
            "machine,state,x\na,good,1\n",
            {"id": "machine", "labels": ["stat"]},
            "no column 'stat', did you mean 'state'",
        ),
        ("t,t\n1,2\n", {"time": "t"}, "2 columns named 't'"),
        ("t,x\n1,2\n", {"time": "t", "channels": ["y"]}, "no column 'y'"),
        ("t\n1\n", {"time": "t"}, "no column of values"),
        (LONG, {"time": "when", "channel": "what", "value": "much", "channels": ["z"]}, "no channel 'z'"),
        ("t,c,v\n1,,2\n", {"time": "t", "channel": "c", "value": "v"}, "Row 1 .*empty channel name"),
        ("t,x\n1\n", {}, "cannot be read"),
    ],
)
def test_unreadable_tables_are_refused(write, text, options, reason):
    with pytest.raises(DataError, match=reason):
        SeriesTable(write(text), **options)


@pytest.mark.parametrize(("cell", "reason"), [("inf", "infinite"), ("nan", "every value"), ("", "every value")])
def test_a_recording_without_a_finite_value_is_a_bad_sample(write, cell, reason):
    from sensorium.modalities.timeseries.modality import TimeSeriesModality

    rows = [f"good,{t},{t}\n" for t in range(9)] + [f"bad,{t},{cell}\n" for t in range(9)]
    found = series(SeriesTable(write("id,t,x\n" + "".join(rows)), id="id", time="t"))
    modality = TimeSeriesModality()
    modality.fit(found.values())
    assert np.isfinite(modality.decode(found["good"])).all()
    with pytest.raises(BadSample, match=reason):
        modality.decode(found["bad"])


def test_missing_and_foreign_files_are_refused(tmp_path, write):
    with pytest.raises(DataError, match="does not exist"):
        SeriesTable(str(tmp_path / "absent.csv"))
    with pytest.raises(DataError, match=r"ends in none of \.csv.*data\.source\.format"):
        SeriesTable(write("x", "t.txt"))
    with pytest.raises(DataError, match=r"holds whole series.*the source 'series'"):
        SeriesTable(write("@data\n", "t.ts"))
    with pytest.raises(DataError, match="empty list"):
        SeriesTable([])


@pytest.mark.parametrize(
    "options", [{"channel": "c"}, {"channel": "c", "value": "v"}, {"step": 1.0}, {"time": "t", "step": 0.0}]
)
def test_inconsistent_options_are_refused(write, options):
    with pytest.raises(RecipeError):
        SeriesTable(write("t,c,v\n1,a,2\n"), **options)


def test_a_table_of_many_recordings_becomes_a_batch(write):
    """Gaps, unsorted stamps and unequal ends, from a file to features."""
    from sensorium.modalities.timeseries.modality import TimeSeriesModality

    rng = np.random.default_rng(0)
    rows = [
        (f"d{i}", int(t), rng.normal(), "" if rng.random() < 0.3 else rng.normal())
        for i in range(9)
        for t in rng.permutation(30 + i)
    ]
    text = "id,t,x,y\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    source = SeriesTable(write(text), id="id", time="t", window=10, stride=5)
    modality = TimeSeriesModality()
    raws = [source[i].values["timeseries"] for i in range(len(source))]
    modality.fit(raws)
    batch = modality.collate([modality.decode(raw) for raw in raws])
    assert batch.values.shape == (len(source), 2, 10)
    assert 0.6 < batch.observed[:, 1].float().mean() < 0.8


LABELED = "t,load,fault\n" + "".join(f"{i},{i / 7},{int(i > 90)}\n" for i in range(120))


def test_channels_are_named_and_what_is_not_used(write):
    source = SeriesTable(write(LABELED), time="t", labels=["fault"], exclude=[], units={"load": "kW"})
    assert source.notes() == ["1 channel: load [kW]; labels, which no training reads: fault", "time steps are 1 apart"]
    text = "id,when,temp (C),v [mm/s],note\na,2024-01-01 00:00:00,1,2,x\na,2024-01-01 00:00:10,1,2,x\n"
    source = SeriesTable(write(text), id="id", time="when", exclude=["note"])
    assert source.notes() == ["2 channels: temp [C], v [mm/s]; not used: note", "time steps are 10 s apart"]
    assert source[0].values["timeseries"].axes.channels == ("temp [C]", "v [mm/s]")
    long = SeriesTable(
        write(LONG), id="who", time="when", channel="what", value="much", exclude=["x"], units={"y": "g"}
    )
    assert long.notes()[0] == "1 channel: y [g]"


@pytest.mark.parametrize(
    ("header", "cell", "reason"),
    [
        (
            "t,x,state",
            lambda i: i % 3,
            r"'state'.*looks like a label \(3 different whole numbers in 120 rows: 0, 1, 2\)",
        ),
        ("t,x,code", lambda i: float(i % 2 * 4), r"'code'.*2 different whole numbers"),
        (
            "t,x,isFault",
            lambda i: i / 7,
            r"'isFault'.*its name says 'fault'.*exclude: \[isFault\].*data\.source\.channels",
        ),
        ("t,v1,y", lambda i: i / 7, r"'y'.*its name"),
        ("t,x,door", lambda i: i % 2 == 0, r"'door'.*true and false"),
        ("t,x,timestamp", lambda i: i, r"'timestamp'.*data\.source\.time"),
        ("t,x,", lambda i: i, "without a name"),
    ],
)
def test_a_column_that_looks_like_no_measurement_must_be_named(write, header, cell, reason):
    path = write(header + "\n" + "".join(f"{i},{i / 3},{cell(i)}\n" for i in range(120)))
    with pytest.raises(DataError, match=reason):
        SeriesTable(path, time="t")
    last = header.split(",")[-1]
    first = header.split(",")[1]
    assert SeriesTable(path, time="t", exclude=[last])[0].values["timeseries"].shape == (1, 120)
    assert SeriesTable(path, time="t", channels=[first])[0].values["timeseries"].shape == (1, 120)


def test_a_column_of_measurements_is_no_label(write):
    text = "t,x,y,z\n" + "".join(f"{i},{i % 50},{i / 7},{i}\n" for i in range(120))
    assert SeriesTable(write(text), time="t")[0].values["timeseries"].shape == (3, 120)
    assert SeriesTable(write("t,x\n1,0\n2,1\n3,0\n"), time="t")[0].values["timeseries"].shape == (1, 3)  # too few rows


@pytest.mark.parametrize("first", [250_000_000, 2**53 + 1, -(2**60), 2**70])
@pytest.mark.parametrize("scale", ["standard", "robust", "none"])
def test_the_steps_of_a_counter_are_kept(write, first, scale):
    from sensorium.modalities.timeseries.modality import TimeSeriesModality

    rows = [f"{t},{'' if t % 9 == 4 else first + 3 * t},{t / 7}\n" for t in range(90)]
    source = SeriesTable(write("t,count,x\n" + "".join(rows)), time="t", window=30, by_time=(0.0, 0.3))
    raws = [source[i].values["timeseries"] for i in range(len(source))]
    modality = TimeSeriesModality(scale=scale)
    modality.fit(raws)
    again = TimeSeriesModality(scale=scale)
    again.load_state(json.loads(json.dumps(modality.state())))
    for raw in raws:
        steps = np.diff(again.decode(raw)[0])
        steps = steps[~np.isnan(steps)]
        assert len(steps) > 5
        np.testing.assert_allclose(steps, steps[0], rtol=1e-3)
        assert steps[0] > 0


def test_the_labels_ahead_of_a_counter_keep_their_steps(write):
    text = "t,count\n" + "".join(f"{t},{250_000_000 + 3 * t}\n" for t in range(40))
    source = SeriesTable(write(text), time="t", window=5, by_time=(0.0, 0.3), gap=0, ahead=2)
    assert source.key(0).labels == {"ahead 0": 250_000_012, "ahead 1": 250_000_015, "ahead 2": 250_000_018}


@pytest.mark.parametrize(
    ("cells", "time_format", "wanted"),
    [
        (["31.12.2023 23:59", "01.01.2024 00:01"], "%d.%m.%Y %H:%M", ["2023-12-31T23:59", "2024-01-01T00:01"]),
        (["1700000000", "1700000060"], "s", ["2023-11-14T22:13:20", "2023-11-14T22:14:20"]),
        (["1700000000500", "1700000000750"], "ms", ["2023-11-14T22:13:20.500", "2023-11-14T22:13:20.750"]),
        (["2024-01-01T00:00:00.5", "2024-01-01 00:00:02"], None, ["2024-01-01T00:00:00.500", "2024-01-01T00:00:02"]),
    ],
)
def test_time_stamps_are_written_in_many_ways(write, cells, time_format, wanted):
    path = write("t,x\n" + "".join(f"{cell},{i}\n" for i, cell in enumerate(cells)))
    source = SeriesTable(path, time="t", time_format=time_format)
    assert [str(np.datetime64(w, "ns")) for w in wanted] == [
        str(t.astype("datetime64[ns]")) for t in source.key(0).time
    ]
    assert source[0].values["timeseries"].axes.unit == "s"


@pytest.mark.parametrize(
    ("cells", "options", "reason"),
    [
        (
            ["2024-01-01 00:00:00", "1704067260"],
            {},
            r"two kinds: '1704067260' in row 2 of .* is a number.*row 1 of .*date",
        ),
        (
            ["2024-01-01T00:00:00Z", "2024-01-01T00:00:01"],
            {},
            "two kinds: .* in row 2 .* is a date, .* with a time zone",
        ),
        (["31.12.2023", "2024-01-01"], {"time_format": "%d.%m.%Y"}, "Row 2 .*'2024-01-01'.*time_format"),
        (["31.12.2023", "2024-01-01"], {}, r"'31\.12\.2023' \(row 1 .*time_format"),
        (["1", "2"], {"time_format": "weeks"}, "time_format is"),
        (["1", "2"], {"step": "5 parsecs"}, r"data\.source\.step is a span"),
        (["1", "2"], {"interpolate": "1 s"}, r"needs data\.source\.step"),
    ],
)
def test_time_stamps_that_are_not_understood_are_named(write, cells, options, reason):
    path = write("t,x\n" + "".join(f"{cell},{i}\n" for i, cell in enumerate(cells)))
    with pytest.raises((DataError, RecipeError), match=reason):
        SeriesTable(path, time="t", **options)


def test_uneven_time_stamps_are_said_and_resampled(write):
    path = write("t,x\n0,0\n0.9,9\n2.2,22\n3,30\n9,90\n10,100\n")
    source = SeriesTable(path, time="t")
    assert source.notes()[1].startswith("time stamps in 't' are uneven (1 apart in the median)")
    nearest = SeriesTable(path, time="t", step="1 Hz")
    np.testing.assert_array_equal(series(nearest)["t"], [[0, 9, 22, 30, *[np.nan] * 5, 90, 100]])
    assert nearest.notes()[1] == "time steps are 1 apart"
    linear = SeriesTable(path, time="t", step="1s", interpolate=2)
    np.testing.assert_allclose(series(linear)["t"], [[0, 10, 20, 30, *[np.nan] * 5, 90, 100]], rtol=1e-6)
    bridged = SeriesTable(path, time="t", step=1, interpolate="10 s")
    np.testing.assert_allclose(series(bridged)["t"], [np.arange(11) * 10], rtol=1e-6)
    means = SeriesTable(path, time="t", step="2.5s", duplicates="mean")
    np.testing.assert_allclose(series(means)["t"][0, :2], [4.5, 26])


def test_rows_before_the_heading_are_skipped(write):
    source = SeriesTable(write("device 7\nexported today\nt,x\n1,5\n2,6\n"), time="t", skip_rows=2)
    assert series(source)["t"].tolist() == [[5, 6]]


def test_a_pattern_names_files_each_of_which_may_be_a_recording(write, tmp_path):
    for name, start in (("b-log.csv", 5), ("a-log.csv", 1), ("other.csv", 9)):
        write(f"t,x\n1,{start}\n2,{start + 1}\n", name)
    pattern = str(tmp_path / "*-log.csv")
    source = SeriesTable(pattern, id="file", time="t")
    assert {id: values.tolist() for id, values in series(source).items()} == {
        "a-log.csv": [[1, 2]],
        "b-log.csv": [[5, 6]],
    }
    joined = SeriesTable(pattern, channels=["x"])
    assert "data.source.id" in joined.notes()[-1]
    with pytest.raises(DataError, match="No file matches the pattern"):
        SeriesTable(str(tmp_path / "*.nothing"))


def test_records_have_the_time_stamps_of_their_ends(write):
    rows = "".join(f"2024-01-01 00:00:{s:02d},{s}\n" for s in range(0, 60, 2))
    source = SeriesTable(write("t,x\n" + rows), time="t", window=10, by_time=(0.0, 0.4), gap=0)
    assert [str(stamp)[14:19] for stamp in source.key(1).time] == ["00:16", "00:34"]
    assert source[1].time == source.key(1).time
    gridded = SeriesTable(write("t,x\n10,1\n12,2\n13,2\n"), time="t", step=1.0)
    assert gridded.key(0).time == (10, 13)
    numbered = SeriesTable(write("x\n" + "5\n" * 20), window=5, by_time=(0.0, 0.5), gap=0)
    assert numbered.key(1).time == (5, 9)
