"""Arrays, and what holds them, as bytes that are read without running code."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.contracts import Modality
from sensorium.data.arrays import ArraysSource
from sensorium.data.decoding import readable
from sensorium.data.packed_values import Unstorable, is_packed, packed, unpacked
from sensorium.errors import BadSample
from sensorium.testing.equality import same

X = np.arange(12, dtype=np.uint16).reshape(3, 4)


@dataclass
class Pair:
    first: np.ndarray
    second: None = None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (X, X),
        (X.T[::2], X.T[::2]),
        (np.float32(2.5), np.array(2.5, np.float32)),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (torch.arange(3.0), np.arange(3, dtype=np.float32)),
        ((X, 16000), (X, 16000)),
        ({"values": X, "channels": ["a", "b"], "n": None}, {"values": X, "channels": ["a", "b"], "n": None}),
        ([X, [1, 2.5, "x", True]], [X, [1, 2.5, "x", True]]),
        (Pair(X), {"first": X, "second": None}),
        (Image.fromarray(X.astype(np.uint8)), X.astype(np.uint8)),
        (7, 7),
    ],
)
def test_values_come_back(value, expected):
    made = packed(value)
    assert is_packed(made)
    assert same(unpacked(made), expected)
    assert packed(value) == made


@pytest.mark.parametrize("value", [object(), np.array([object()]), {"a": {1, 2}}, np.array(["text"])])
def test_what_only_code_could_make_again_is_refused(value):
    with pytest.raises(Unstorable, match="cannot be stored without code"):
        packed(value)


def test_damaged_bytes_are_a_bad_sample():
    made = packed(X)
    with pytest.raises(BadSample, match="the packed value is damaged"):
        unpacked(made[:-3])


def test_a_modality_decodes_what_was_packed():
    class Any(Modality):
        def decode(self, raw):
            return raw

        def collate(self, examples):
            raise NotImplementedError

    source = ArraysSource({"x": [packed(X)]})
    assert np.array_equal(readable(source[0].values["x"], Any(), source), X)
    assert readable(b"PK\x03\x04", Any(), source) == b"PK\x03\x04"
