import numpy as np
import pytest

from sensorium.presence import join_presence, presence, present_in_all, present_in_any, rows_among

A, B = np.array([True, True, False, True]), np.array([True, False, True, True])


def listed(mask):
    return None if mask is None else mask.tolist()


def test_all_present_is_none():
    assert presence([True, True]) is None
    assert presence([]) is None
    assert listed(presence([True, False])) == [True, False]


@pytest.mark.parametrize(
    ("parts", "in_all", "in_any"),
    [
        ([A, B], [True, False, False, True], None),
        ([A, A & B], [True, False, False, True], [True, True, False, True]),
        ([A, None], [True, True, False, True], None),
        ([None, None], None, None),
    ],
)
def test_records_in_all_and_in_any_of_several_modalities(parts, in_all, in_any):
    assert listed(present_in_all(parts)) == in_all
    assert listed(present_in_any(parts)) == in_any


def test_rows_of_chosen_records_are_counted_among_the_rows_that_there_are():
    both = present_in_all([A, B])
    assert rows_among(both, A).tolist() == [0, 2]
    assert rows_among(both, B).tolist() == [0, 2]
    assert rows_among(A, None).tolist() == [0, 1, 3]
    assert rows_among(A & ~A, B).tolist() == []


def test_nothing_is_picked_where_all_rows_are_chosen():
    assert rows_among(None, A) is None
    assert rows_among(A, A) is None
    assert rows_among(A | B, A) is None


def test_presences_of_parts_are_joined():
    assert listed(join_presence([A, None], [4, 2])) == [True, True, False, True, True, True]
    assert join_presence([None, None], [4, 2]) is None
