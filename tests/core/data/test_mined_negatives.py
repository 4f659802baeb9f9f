import numpy as np
import pytest

from sensorium.data.arrays import ArraysSource
from sensorium.data.mined_negatives import MinedSource
from sensorium.errors import DataError
from sensorium.mining import Mined


@pytest.fixture
def source():
    return ArraysSource({"a": list("pqrs"), "b": ["p'", "q'", None, "s'"]}, ids=["0", "1", "2", "3"])


@pytest.fixture
def path(tmp_path):
    queries, negatives = ["0", "0", "1"], ["1", "3", "0"]
    mined = Mined(queries, negatives, np.array([1, 2, 1]), np.full(3, 0.5), np.full(3, 0.9), {}, {"field": "b"})
    mined.write(tmp_path / "mined.parquet")
    return str(tmp_path / "mined.parquet")


def test_records_carry_the_values_of_their_negatives_hardest_first(source, path):
    mined = MinedSource(source, path, 2)
    assert mined.fields == ("a", "b", "b_negative_1", "b_negative_2")
    assert mined[0].values == {"a": "p", "b": "p'", "b_negative_1": "q'", "b_negative_2": "s'"}
    assert mined[1].values == {"a": "q", "b": "q'", "b_negative_1": "p'"}
    assert mined[2].values == {"a": "r", "b": None}
    assert mined.present("b_negative_2").tolist() == [True, False, False, False]
    assert mined.present("a") is source.present("a")
    assert [mined.key(i) for i in range(4)] == [source.key(i) for i in range(4)]
    assert len(MinedSource(source, path)) == 4
    assert MinedSource(source, path).fields[2:] == ("b_negative_1",)


def test_negatives_are_values_of_the_modality_that_reads_their_field(source, path):
    mined = MinedSource(source, path, 2)
    assert mined.negatives({"x": "a", "y": "b"}) == {"b_negative_1": "y", "b_negative_2": "y"}
    with pytest.raises(DataError, match="which no modality of the recipe reads"):
        mined.negatives({"x": "a"})


def test_no_negative_comes_from_outside_the_train_part(source, path):
    MinedSource(source, path, 2).keep_within(np.array([0, 1, 3]))
    with pytest.raises(DataError, match=r"1 negatives of .* lie outside the train part, the first is '3'"):
        MinedSource(source, path, 2).keep_within(np.array([0, 1, 2]))
    MinedSource(source, path, 1).keep_within(np.array([0, 1, 2]))  # the second one is not used


def test_what_does_not_belong_together_is_refused(source, path, tmp_path):
    with pytest.raises(DataError, match="holds no mined negatives"):
        MinedSource(source, str(tmp_path / "absent.parquet"))
    with pytest.raises(DataError, match="the field 'b', which the source does not have"):
        MinedSource(ArraysSource({"a": list("pqrs")}), path)
    with pytest.raises(DataError, match=r"none with the id '3' \(1 such"):
        MinedSource(ArraysSource({"b": list("pqr")}), path)
