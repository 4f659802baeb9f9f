"""Hashes of strings, and what they find."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from sensorium.contracts import text_hashes as module
from sensorium.contracts.text_hashes import first_duplicate, text_hashes


@given(st.lists(st.text(max_size=4)), st.integers(1, 5))
def test_equal_strings_have_equal_hashes_however_they_are_cut(texts, width):
    whole = text_hashes(pa.array(texts, pa.string()))
    assert text_hashes(pa.chunked_array([texts[:width], texts[width:]], pa.large_string())).tolist() == whole.tolist()
    assert text_hashes(pa.array(["x", *texts], pa.string())[1:]).tolist() == whole.tolist()
    assert len(set(whole.tolist())) == len(set(texts))


@given(st.lists(st.text(max_size=2)))
def test_the_first_duplicate_is_found(texts):
    found = first_duplicate(pa.array(texts, pa.string()))
    assert found == next((text for text in texts if texts.count(text) > 1), None)


def test_strings_that_collide_are_told_apart(monkeypatch):
    monkeypatch.setattr(module, "text_hashes", lambda texts: np.zeros(len(texts), np.uint64))
    assert first_duplicate(pa.array(["a", "b", "c"])) is None
    assert first_duplicate(pa.array(["a", "b", "c", "b"])) == "b"


@pytest.mark.parametrize("together", [1, 7, 1000])
def test_pieces_make_no_difference(monkeypatch, together):
    texts = pa.array([str(number) for number in range(100)])
    whole = text_hashes(texts)
    monkeypatch.setattr(module, "TOGETHER", together)
    assert text_hashes(texts).tolist() == whole.tolist()
