"""The scaffold split."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, strategies as st

from sensorium.errors import RecipeError
from sensorium.modalities.molecule.scaffolds import ACYCLIC, murcko_scaffold, scaffold_split


def test_a_scaffold_is_ring_systems_and_linkers():
    assert murcko_scaffold("CCc1ccc(C(=O)C2CC2)cc1") == "O=C(c1ccccc1)C1CC1"
    assert murcko_scaffold("C[C@@H]1CC[C@H](c2ccccc2)C1") == murcko_scaffold("CC1CCC(c2ccccc2)C1"), (
        "without stereochemistry"
    )
    assert murcko_scaffold("CCO") == ACYCLIC
    assert murcko_scaffold("C(C") is None
    assert murcko_scaffold(None) is None


def test_largest_scaffolds_first_and_the_later_of_equals():
    scaffolds = ["a"] * 5 + ["b", "b", "c", "d", "e"]
    #            a: 5 and b: 2 fit into 8; e fits too; d goes to val, c to test
    assert scaffold_split(scaffolds, (0.1, 0.1)) == ["train"] * 7 + ["test", "val", "train"]


def test_a_scaffold_too_large_for_train_goes_to_val():
    assert scaffold_split(["a"] * 6 + ["b"] * 3 + ["c"], (0.1, 0.1)) == ["train"] * 6 + ["val"] * 3 + ["train"]


@given(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=60), st.integers(0, 3))
def test_scaffolds_stay_whole_and_invalid_molecules_do_not_count(scaffolds, unread):
    parts = scaffold_split([*scaffolds, *[None] * unread], (0.1, 0.2))
    assert parts[len(scaffolds) :] == [None] * unread
    assert all(len({p for p, s in zip(parts, scaffolds, strict=False) if s == one}) == 1 for one in set(scaffolds))
    assert Counter(parts)["train"] <= 0.7 * len(scaffolds) + 1e-9
    assert parts == scaffold_split([*scaffolds, *[None] * unread], (0.1, 0.2))


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (-0.1, 0.2)])
def test_fractions_out_of_range_are_refused(fractions):
    with pytest.raises(RecipeError, match=r"data.source.fractions"):
        scaffold_split(["a"], fractions)
