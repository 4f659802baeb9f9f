from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium import BadSample
from sensorium.modalities.timeseries.decode import decode, origins, relative

VALUES = np.arange(6.0).reshape(2, 3)


def npy(array):
    file = BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays):
    file = BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "raw",
    [
        VALUES,
        VALUES.astype(np.float16),
        VALUES.astype(int),
        VALUES.tolist(),
        torch.from_numpy(VALUES).bfloat16().requires_grad_(),
        npy(VALUES),
        npz(anything=VALUES),
        np.ma.MaskedArray(VALUES),
    ],
)
def test_every_type_of_raw_value(raw):
    found = decode(raw, "channels-first")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, VALUES)


def test_layouts():
    assert decode([1, 2, 3], "time-first").tolist() == decode([1, 2, 3], "channels-first").tolist() == [[1, 2, 3]]
    np.testing.assert_array_equal(decode(VALUES.T, "time-first"), VALUES)


def test_missing_values():
    wanted = [[1, np.nan, 3]]
    for raw in ([1, None, 3], [1, float("nan"), 3], np.ma.MaskedArray([1, 2, 3], [False, True, False])):
        np.testing.assert_array_equal(decode(raw, "channels-first"), wanted)


def test_files(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    np.testing.assert_array_equal(decode(str(tmp_path / "a.npy"), "channels-first"), VALUES)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (np.full((2, 5), np.nan), "every value"),
        ([1, float("inf"), 2], "step 1 of channel 0 is infinite"),
        (np.full(4, -np.inf), "infinite"),
        (np.empty((2, 0)), "no steps"),
        (np.empty((0, 3)), "no channels"),
        ([], "no steps"),
        (3.0, "not 0"),
        (np.zeros((2, 2, 2)), "not 3"),
        ([[1, 2], [3]], "list"),
        (["a", "b"], "list"),
        (np.array(["1", "2"]), "array of <U1"),
        (np.array([1j]), "complex"),
        (np.array([1, 2], "datetime64[s]"), "datetime64"),
        ({"a": 1}, "dict"),
        (b"RIFF....WAVE", "no .npy"),
        (b"", "no .npy"),
        (npy(VALUES)[:70], "cannot be read"),
        (npz(a=VALUES)[:60], "cannot be read"),
        (npz(a=VALUES, b=VALUES), "2 arrays"),
        (npy(np.array([{}], object)), "cannot be read"),
        ("/no/such/file.npy", "cannot be read"),
        ("\x00", "no path"),
    ],
)
def test_invalid_raw_values_are_refused(raw, reason):
    with pytest.raises(BadSample, match=reason):
        decode(raw, "channels-first")


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 400), byte=st.integers(0, 255), cut=st.booleans(), packed=st.booleans())
def test_a_corrupt_file_is_a_bad_sample_or_a_series(place, byte, cut, packed):
    data = bytearray(npz(a=VALUES) if packed else npy(VALUES))
    place %= len(data)
    data[place] = byte
    with suppress(BadSample):  # and nothing else
        assert decode(bytes(data[:place] if cut else data), "channels-first").dtype == np.float64


@pytest.mark.parametrize("big", [2**53 + 1, 2**63 + 5, -(2**62)])
def test_integers_of_any_size_are_relative_to_the_first(big):
    counter = [big + 3 * i for i in range(10)]
    gaps = [None if i == 4 else value for i, value in enumerate(counter)]
    for raw in (counter, gaps, np.array(counter), [[None] * 10, counter]):
        array_CT = decode(raw, "channels-first")
        values_CT = relative(array_CT, origins(array_CT))
        steps = [value for i, value in enumerate(values_CT[-1].tolist()) if not (raw is gaps and i == 4)]
        assert steps == [3 * i for i in range(10) if not (raw is gaps and i == 4)]
    assert origins(np.array([[np.nan, np.nan], [1, 2]])) == [None, 0]
