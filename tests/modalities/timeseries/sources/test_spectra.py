from pathlib import Path

import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.modalities.timeseries.sources.spectra import SpectraTable

NAMES = [f"{1100 + 2 * i}" for i in range(20)]


@pytest.fixture
def write(tmp_path):
    def written(names=NAMES, unit="", rows=3):
        x = np.arange(rows)[:, None] + np.arange(len(names)) / 8
        lines = [",".join(["sample", "protein", *(f"{name}{unit}" for name in names), "note"])]
        lines += [",".join([f"s{i}", "" if i == 1 else str(10 + i), *map(str, x[i]), "x"]) for i in range(rows)]
        path = tmp_path / "spectra.csv"
        path.write_text("\n".join(lines))
        return str(path)

    return written


@pytest.mark.parametrize("unit", ["", " nm", " cm-1"])
def test_columns_with_a_number_for_a_name_are_wavelengths(write, unit):
    source = SpectraTable(write(unit=unit), id="sample", labels=["protein"])
    record = source[2]
    assert (record.id, record.labels) == ("s2", {"protein": 12})
    np.testing.assert_array_equal(record.values["timeseries"], [2 + np.arange(20) / 8])
    assert "protein" not in source.key(1).labels
    assert source.notes() == [
        "spectra of 20 wavelengths, 1100 to 1138; labels, which no training reads: protein; not used: note"
    ]
    axes = record.values["timeseries"].axes
    assert (axes.start, axes.period) == (1100, 2)


def test_wavelengths_are_put_in_order_and_limited(write):
    source = SpectraTable(write(NAMES[::-1]), labels=["protein"], range=(1102, 1122))
    assert source[0].values["timeseries"].tolist() == [(np.arange(18, 7, -1) / 8).tolist()]
    assert "sample" in source.notes()[0]


def test_tables_without_spectra_say_what_to_do(write):
    with pytest.raises(DataError, match=r"has 3 columns whose name is a wavelength.*sample, protein, 1100.*skip_rows"):
        SpectraTable(write(NAMES[:3]))
    with pytest.raises(DataError, match=r"has 0 columns .*within \[5\.0, 9\.0\]"):
        SpectraTable(write(), range=(5.0, 9.0))
    path = write()
    Path(path).write_text(Path(path).read_text().replace("0.125", "broken", 1))
    with pytest.raises(DataError, match=r"'broken' \(row 1 .*is a wavelength"):
        SpectraTable(path)
