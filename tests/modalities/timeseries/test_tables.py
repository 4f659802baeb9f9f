"""Tables of one series: what a person exports of a spreadsheet, or uploads."""

import numpy as np
import pytest

from sensorium import BadSample
from sensorium.modalities.timeseries.modality import TimeSeriesModality
from sensorium.modalities.timeseries.series import Axes, Series
from sensorium.modalities.timeseries.tables import read_table


@pytest.mark.parametrize(
    ("text", "values_CT", "names"),
    [
        ("x,y\n1,4\n2,5\n3,6\n", [[1, 2, 3], [4, 5, 6]], ("x", "y")),
        ("1;4\r\n2;\r\n3;nan\r\n", [[1, 2, 3], [4, np.nan, np.nan]], None),
        ("\ufefftime\tx\n2026-01-01 10:00\t1e3\n2026-01-01 11:00\t-2\n", [[1000, -2]], ("x",)),
        ("5\n6\n7\n", [[5, 6, 7]], None),
        ("5, 6, 7\n", [[5, 6, 7]], None),
    ],
)
def test_columns_are_channels_and_rows_steps(tmp_path, text, values_CT, names):
    path = tmp_path / "one.csv"
    path.write_bytes(text.encode())
    found_CT, found = read_table(path)
    np.testing.assert_array_equal(found_CT, values_CT)
    assert found == names


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        (b"", "empty"),
        (b"x,y\n", "empty"),
        (b"1,2\n3\n", "damaged"),
        (b"a\nb\nc\n", "unsupported"),
        (b"\xff\xfe\n1", "encoding"),
    ],
)
def test_what_is_no_series_is_said(tmp_path, written, kind):
    (tmp_path / "one.csv").write_bytes(written)
    with pytest.raises(BadSample) as refused:
        read_table(tmp_path / "one.csv")
    assert refused.value.kind == kind


@pytest.mark.parametrize("layout", ["channels-first", "time-first"])
def test_a_modality_takes_the_channels_that_it_knows_by_name(tmp_path, layout):
    modality = TimeSeriesModality(layout=layout)
    rng = np.random.default_rng(0)
    modality.fit([Series.of(rng.normal(size=(2, 20)), Axes(("x", "y"), 1.0, "s")) for _ in range(4)])
    values_CT = rng.normal(size=(2, 20))
    np.savetxt(
        tmp_path / "one.csv",
        np.stack([values_CT[1], np.arange(20), values_CT[0]], 1),
        "%.17g",
        ",",
        header="y,step,x",
        comments="",
    )
    expected = modality.decode(Series.of(values_CT, Axes(("x", "y"), 1.0, "s")))
    np.testing.assert_allclose(modality.decode(str(tmp_path / "one.csv")), expected, rtol=1e-6)
    np.savetxt(tmp_path / "bare.csv", values_CT.T, "%.17g", ",")
    np.testing.assert_allclose(modality.decode(tmp_path / "bare.csv"), expected, rtol=1e-6)
    np.savetxt(tmp_path / "other.csv", values_CT.T, "%.17g", ",", header="x,z", comments="")
    with pytest.raises(BadSample, match="the channels of the series are x, z, not x, y"):
        modality.decode(tmp_path / "other.csv")
