"""What is said of labels before a fine-tuning."""

from types import SimpleNamespace

import numpy as np

from sensorium import Record
from sensorium.finetuning.label_notes import _unknown_classes, label_notes
from sensorium.recipe.schema import Finetune


class Rows(list):
    """Stands for the table of the records that could be read."""

    labels = {"active": np.array([0, 1, 0, 1])}


def notes(**options):
    records = [Record(str(number), {}, {"active": number % 2}) for number in range(6)]
    task = SimpleNamespace(columns=["active"], is_regression=False)
    read = SimpleNamespace(table=Rows(range(4)), task=task)
    return label_notes(Finetune(**options), read, records, records, records, by_folds=False)


def test_records_that_cannot_be_read_are_no_draw():
    assert "2 records of 6 with a label in the train part cannot be read, and are left out" in notes()


def test_few_labels_are_a_draw():
    assert "4 of 6 labeled records of the train part are used in each draw, another one for each seed" in notes(
        label_fraction=0.7
    )


def test_one_record_has_a_class_of_its_own():
    known = SimpleNamespace(
        table=SimpleNamespace(labels={"kind": np.array(["a", "b"])}), task=SimpleNamespace(is_regression=False)
    )
    test = [Record(str(number), {}, {"kind": kind}) for number, kind in enumerate("abcc")]
    assert _unknown_classes(known, ["kind"], test[:3])[0].startswith("1 record of the test part has a class that no")
    assert _unknown_classes(known, ["kind"], test)[0].startswith("2 records of the test part have a class that no")
