"""What stands in X: missing values, arrays of several lengths, and the columns of frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import sensorium
from sensorium.sklearn import SSLClassifier, SSLTransformer
from sensorium.sklearn.records import has_value, read_records, require_values, without_missing
from tests.core.sklearn.tiny import TINY, TINY_TEXT, series, texts

TEXTS, Y = texts()
X = series(6)[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A pretrained run on texts."""
    folder = tmp_path_factory.mktemp("runs") / "pretrained"
    changes = [*TINY_TEXT, "data.val=0", "data.test=0", "data.split=random", "evaluate.evaluators={}"]
    sensorium.fit("simcse", changes, source={"text": TEXTS}, run_dir=folder)
    return folder


@pytest.fixture
def transformer(run):
    return SSLTransformer("simcse", TINY_TEXT, run=run, device="cpu")


def holed(row, missing=None):
    """Texts of which one is missing."""
    return [missing if number == row else text for number, text in enumerate(TEXTS)]


KINDS = {
    "list": holed,
    "array": lambda row: np.array(holed(row), object),
    "list with nan": lambda row: holed(row, float("nan")),
    "series": lambda row: pd.Series(holed(row)),
    "series of objects": lambda row: pd.Series(holed(row, pd.NA), dtype=object),
    "frame": lambda row: pd.DataFrame({"text": holed(row, np.nan)}),
    "frame with another name": lambda row: pd.DataFrame({"title": holed(row)}),
    "mapping": lambda row: {"text": holed(row, np.nan)},
}
"""Kind of X -> texts of which one is missing."""


@pytest.mark.parametrize("row", [0, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_missing_texts_are_left_out_of_a_fit_and_an_error_to_a_transform(transformer, kind, row):
    holes = KINDS[kind](row)
    transformer.fit(holes)
    assert transformer.n_features_in_ == 1
    with pytest.raises(ValueError, match=f"record {row} has no value of 'text'"):
        transformer.transform(holes)


def test_a_missing_text_is_no_unreadable_one(transformer):
    """None of `data.max_bad` is used up by them, in a training or a finetuning."""
    holes = pd.Series([None if row in (0, 5, 7) else text for row, text in enumerate(TEXTS)])
    options = {"random_state": 0, "device": "cpu"}
    model = SSLClassifier("simcse", [*TINY_TEXT, "data.max_bad=0"], **options).fit(holes, Y)
    assert set(model.predict(TEXTS)) <= {"cold", "warm"}
    with pytest.raises(ValueError, match="record 5 has no value of 'text'"):
        model.predict([*TEXTS[:5], None])
    with pytest.raises(ValueError, match="record 0 has no value of 'text'"):
        model.predict([None])
    assert model.score(holes, [None if row in (0, 5, 7) else y for row, y in enumerate(Y)]) >= 0
    with pytest.raises(ValueError, match="record 5 has no value of 'text'"):
        model.score(holes, [None if row in (0, 7) else y for row, y in enumerate(Y)])
    with pytest.raises(ValueError, match="Value 3 of text cannot be decoded"):
        model.score(["a", "b", "c", object()], [None, None, *Y[:2]])


def test_an_unreadable_first_value_is_left_out_of_a_fit(run):
    model = SSLTransformer("simcse", TINY_TEXT, random_state=0, device="cpu").fit([object(), *TEXTS])
    assert model.transform(TEXTS[:2]).shape == (2, len(model.get_feature_names_out()))


def test_errors_name_no_file_of_a_deleted_folder(transformer):
    unreadable = [object(), object(), *TEXTS]
    for model in (
        SSLTransformer("simcse", TINY_TEXT, random_state=0, device="cpu"),
        SSLClassifier("simcse", TINY_TEXT, run=transformer.run, random_state=0, device="cpu"),
    ):
        with pytest.raises(ValueError, match="2 of 22 records are unreadable") as caught:
            model.fit(unreadable, ["cold", "warm", *Y])
        assert "data.max_bad" in str(caught.value)
        assert "unreadable.csv" not in str(caught.value)


def test_arrays_of_texts(transformer):
    expected = transformer.fit(TEXTS).transform(TEXTS)
    assert np.array_equal(transformer.fit(np.array(TEXTS)).transform(np.array(TEXTS)), expected)


def test_names_of_columns_are_checked(transformer):
    frame = pd.DataFrame({"title": TEXTS})
    expected = transformer.fit(frame).transform(frame)
    assert transformer.feature_names_in_.tolist() == ["title"]
    with pytest.raises(ValueError, match="feature names should match"):
        transformer.transform(pd.DataFrame({"name": TEXTS}))
    with pytest.raises(ValueError, match="feature names should match"):
        transformer.transform(pd.DataFrame({"title": TEXTS, "n": range(20)}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert np.array_equal(transformer.transform(TEXTS), expected)
    with pytest.raises(ValueError, match="feature names should match"):
        transformer.transform(pd.DataFrame({"text": TEXTS}))
    assert not hasattr(transformer.fit(TEXTS), "feature_names_in_")


def test_other_columns_than_those_of_the_recipe_are_not_read(transformer):
    frame = pd.DataFrame({"n": range(20), "text": TEXTS})
    expected = transformer.fit(frame).transform(frame)
    assert transformer.feature_names_in_.tolist() == ["text"]
    assert np.array_equal(transformer.transform(frame[["text"]]), expected)


def test_a_frame_without_the_column_of_the_recipe(transformer):
    with pytest.raises(ValueError, match="The recipe reads the column 'text'; the frame has title, n"):
        transformer.fit(pd.DataFrame({"title": TEXTS, "n": range(20)}))
    with pytest.raises(ValueError, match="The recipe reads the columns 'image', 'text'; the frame has text, n"):
        read_records(transformer, pd.DataFrame({"text": TEXTS, "n": range(20)}), ["image", "text"], fitting=True)


def test_arrays_of_one_length_among_missing_and_other_ones():
    model = SSLTransformer()
    values = read_records(model, [None, *X], ["timeseries"], fitting=True)
    assert model.n_features_in_ == 12
    assert has_value(values).tolist() == [False] + [True] * 6
    assert read_records(model, X, ["timeseries"], fitting=False)["timeseries"].shape == (6, 12)
    read_records(model, [X[0], X[1, :9]], ["timeseries"], fitting=True)
    assert len(read_records(model, [X[0]], ["timeseries"], fitting=False)["timeseries"]) == 1


def test_nothing_but_missing_values(transformer):
    for nothing in ([None] * 4, pd.Series([None] * 4), np.full(4, None)):
        with pytest.raises(ValueError, match="X has no value of 'text': every record lacks it"):
            transformer.fit(nothing)


def test_rows():
    require_values({"a": [1, None, 3]}, [0, 2])
    with pytest.raises(ValueError, match="record 1 has no value of 'a'"):
        require_values({"a": [1, None, 3]})
    assert without_missing(["a", pd.NA, pd.NaT, np.nan, None]) == ["a", None, None, None, None]


def test_numbers_with_nan_are_no_missing_values():
    rows = X.copy()
    rows[2, 3:] = np.nan
    model = SSLTransformer(overrides=TINY, random_state=0, device="cpu").fit(rows)
    assert np.isfinite(model.transform(rows)).all()


ONE_LENGTH = {
    "series of arrays": pd.Series(list(X)),
    "series of lists": pd.Series(X.tolist()),
    "frame of arrays": pd.DataFrame({"wave": list(X)}),
    "frame of lists": pd.DataFrame({"timeseries": X.tolist(), "n": range(6)}),
    "list of lists": X.tolist(),
    "list of arrays": list(X),
}
"""Kind of X -> the same series, all of one length."""


@pytest.mark.parametrize("kind", ONE_LENGTH)
def test_values_of_one_length_are_read_as_those_of_several(kind):
    model = SSLTransformer(overrides=TINY, random_state=0, device="cpu")
    expected = model.fit(X).transform(X)
    assert np.allclose(model.fit(ONE_LENGTH[kind]).transform(ONE_LENGTH[kind]), expected, atol=1e-6)


@pytest.mark.parametrize("lengths", [(8, 8), (8, 9)])
def test_samples_with_their_rate_are_values(lengths):
    clips = [(np.zeros(length), 8000) for length in lengths]
    model = SSLTransformer()
    for given in (clips, [list(clip) for clip in clips]):
        assert len(read_records(model, given, ["audio"], fitting=True)["audio"]) == 2
        assert model.n_features_in_ == 1


def test_one_column_of_an_array_of_texts(transformer):
    """As SimpleImputer hands it on."""
    expected = transformer.fit(TEXTS).transform(TEXTS)
    for column in (np.array(TEXTS, object)[:, None], np.array(TEXTS)[:, None]):
        assert np.array_equal(transformer.fit(column).transform(column), expected)
    with pytest.raises(ValueError, match="record 3 has no value of 'text'"):
        transformer.transform(np.array(holed(3), object)[:, None])


def test_rows_of_numbers_among_objects_stay_rows():
    rows = [[1.0, None, 3.0], [4.0, 5.0, 6.0]]
    for given in (rows, np.array(rows, object)):
        assert read_records(SSLTransformer(), given, ["timeseries"], fitting=True)["timeseries"].shape == (2, 3)
