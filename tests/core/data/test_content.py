import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import torch

from sensorium.data.content import digest


@dataclass
class Pair:
    a: object
    b: object = None


def test_equal_content_has_one_digest():
    assert digest(torch.arange(6)) == digest(np.arange(6)) == digest(np.arange(12)[:6])
    assert digest("é") == digest("é".encode())
    assert digest({"a": 1, "b": "x"}) == digest({"b": "x", "a": 1})
    assert digest(Pair(np.zeros(3))) == digest(Pair(np.zeros(3)))
    assert digest(np.arange(12).reshape(3, 4).T) == digest(np.ascontiguousarray(np.arange(12).reshape(3, 4).T))


def test_other_content_has_another():
    other = [
        np.zeros(6, np.uint8),
        np.zeros((2, 3), np.uint8),
        np.zeros(6, np.int8),
        [1, 23],
        [12, 3],
        ["a", "b"],
        ["ab"],
        "ab",
        "\ud83d",
        True,
        1,
        1.0,
        None,
        {"a": 1},
        [("a", 1)],
        Pair(1, 2),
        Pair([1, 2]),
        np.array(["x", 1], object),
    ]
    assert len({digest(one) for one in other}) == len(other)


def test_a_digest_is_the_same_in_another_process():
    code = "from sensorium.data.content import digest; print(digest({'x': 'words', 'n': [1, 2.5]}))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(there) == digest({"x": "words", "n": [1, 2.5]})
