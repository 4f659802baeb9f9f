"""Tables as arrays: columns of numbers and names, with errors that name file, row and column."""

import numpy as np
import pytest

from sensorium import Table, TableReader
from sensorium.errors import DataError


@pytest.fixture
def table(tmp_path):
    """Read CSV texts, each from a file of its own."""

    def read(*texts, text=(), typed=("x",), **options) -> Table:
        paths = [tmp_path / f"{number}.csv" for number in range(len(texts))]
        for path, content in zip(paths, texts, strict=True):
            path.write_text(content)
        return TableReader(**options).read(paths, text, typed)

    return read


def test_numbers_are_floats_and_missing_ones_nan(table):
    for cells in ("1,2.5,", "1,2.5,nan", "1,2.5,NA"):
        found = table("x,i\n" + "".join(f"{cell},0\n" for cell in cells.split(",")), typed=["x", "i"])
        np.testing.assert_array_equal(found.numbers("x"), [1.0, 2.5, np.nan])
    assert table("x;i\n0,5;1\n", delimiter=";", decimal=",").numbers("x").tolist() == [0.5]


def test_only_empty_text_is_missing(table):
    found = table("name,x\nNA,1\n,2\nnan,\n", text=["name"])
    assert found.texts("name") == ["NA", None, "nan"]
    assert [found.cell("x", row) for row in range(3)] == [1, 2, None]
    assert table("x,y\nNA,1\n", na_values=("",)).cells("x") == ["NA"]


def test_files_are_joined_in_order_and_errors_number_rows_in_their_file(table):
    found = table("x,y\na,1\nb,2\n", "y,x\n3,c\n4,\n", text=["x"], typed=["y"])
    assert (len(found), found.rows, found.cells("y")) == (4, [2, 2], [1, 2, 3, 4])
    with pytest.raises(DataError, match=r"Row 2 of '.*1\.csv' has an empty id in column 'x'"):
        found.identifiers("x")
    with pytest.raises(DataError, match=r"column 'x' holds 'a' \(row 1 of '.*0\.csv'\), which is no number: see y\."):
        found.numbers("x", ": see y")


def test_only_the_columns_that_are_asked_for_are_read(table):
    found = table("x,y,y\n1,2,3\n")
    assert found.cells("x") == [1]
    with pytest.raises(DataError, match="has 2 columns named 'y'"):
        table("x,y,y\n1,2,3\n", typed=["y"])


@pytest.mark.parametrize("option", ["delimiter", "decimal", "quote"])
@pytest.mark.parametrize("given", [";;", "", "§", "\n", "\\t"])
def test_a_character_of_the_format_is_one_character(option, given):
    if (option, given) == ("quote", ""):
        assert TableReader(quote=given).quote == ""  # nothing is quoted
        return
    with pytest.raises(DataError, match=f"data.source.{option} is .* must be one character of ASCII"):
        TableReader(**{option: given})


def test_delimiter_and_quote_differ():
    with pytest.raises(DataError, match="delimiter and quote are both"):
        TableReader(delimiter='"')
