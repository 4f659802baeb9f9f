"""Draws of few labels: how many of each class, the same for the same seed, a function of the ids."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from sensorium import Record, Source
from sensorium.finetuning.few_labels import draw_labeled, label_amounts, read_labeled_keys
from sensorium.recipe.schema import Finetune


class Keys(Source):
    """Records with labels and no values; every seventh lacks the value, as far as the source knows."""

    fields = ("a",)

    def __init__(self, labels):
        self.labels, self.root = labels, "."

    def __len__(self):
        return len(self.labels)

    def key(self, index):
        return Record(f"record {index}", {}, self.labels[index])

    __getitem__ = key

    def present(self, field):
        return np.arange(len(self)) % 7 != 0


def keys_of(labels, columns=("y",)):
    source = Keys(labels)
    return read_labeled_keys(source, source.columns(), np.arange(len(labels)), "a", columns)


def drawn(keys, labels, column="y", seed=0, **options):
    return Counter(labels[at][column] for at in draw_labeled(keys, Finetune(**options), seed))


UNBALANCED = [{"y": "rare" if i % 10 == 1 else "often"} for i in range(700)]


def test_records_without_a_label_or_a_value_are_never_drawn():
    labels = [{"y": None if i % 2 else i % 3, "other": 1} for i in range(140)]
    keys = keys_of(labels)
    assert all(at % 7 and not at % 2 for at in keys.positions)
    assert len(keys.positions) == len(keys.ids) == len(keys.labels["y"]) == 60
    assert np.array_equal(draw_labeled(keys, Finetune(), 0), keys.positions), "all of them without an option"


def test_a_fraction_is_stratified():
    keys = keys_of(UNBALANCED)
    of_all = Counter(keys.labels["y"].tolist())
    for fraction in (0.1, 0.05):
        counts = drawn(keys, UNBALANCED, label_fraction=fraction)
        assert sum(counts.values()) == round(fraction * len(keys.ids))
        assert all(abs(counts[name] - fraction * of_all[name]) <= 1 for name in of_all)


def test_a_fraction_of_numbers_covers_their_range():
    labels = [{"y": float(i % 100)} for i in range(1000)]
    values = sorted(drawn(keys_of(labels), labels, label_fraction=0.01, task="regression"))
    assert all(10 * k - 2 <= value <= 10 * k + 12 for k, value in enumerate(values)), values


def test_so_many_of_each_class_or_all_that_there_are():
    keys = keys_of(UNBALANCED)
    assert drawn(keys, UNBALANCED, labels_per_class=5) == {"rare": 5, "often": 5}
    assert drawn(keys, UNBALANCED, labels_per_class=400)["rare"] == Counter(keys.labels["y"].tolist())["rare"]


def test_so_many_of_each_class_of_every_column():
    labels = [{"p": i % 2, "q": None if i % 3 else int(i % 30 == 0)} for i in range(600)]
    keys = keys_of(labels, ("p", "q"))
    rows = draw_labeled(keys, Finetune(labels_per_class=4, task="multitask"), 0)
    counts = Counter((name, labels[at][name]) for at in rows for name in ("p", "q") if labels[at][name] is not None)
    assert min(counts.values()) >= 4
    assert len(rows) <= 16


def test_a_draw_is_a_function_of_seed_and_ids():
    keys = keys_of(UNBALANCED)
    options = Finetune(labels_per_class=5)
    assert np.array_equal(draw_labeled(keys, options, 0), draw_labeled(keys, options, 0))
    assert not np.array_equal(draw_labeled(keys, options, 0), draw_labeled(keys, options, 1))
    fewer = set(draw_labeled(keys, Finetune(labels_per_class=3), 0))
    assert fewer < set(draw_labeled(keys, options, 0)), "more labels are added to those that there were"


def test_lists_are_several_amounts():
    amounts = label_amounts(Finetune(labels_per_class=[50, 10], label_fraction=[1, 0.015]))
    assert {name: (o.labels_per_class, o.label_fraction) for name, o in amounts.items()} == {
        "10 per class": (10, None),
        "50 per class": (50, None),
        "1.5 %": (None, 0.015),
        "all": (None, 1.0),
    }
    assert list(label_amounts(Finetune(labels_per_class=3))) == [""]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"labels_per_class": []}, "the list is empty"),
        ({"label_fraction": [0.5, 2]}, "less than or equal to 1"),
        ({"label_fraction": 0.1, "labels_per_class": 3}, "not both"),
        ({"label_fraction": 0.0}, "greater than 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Finetune(**options)
