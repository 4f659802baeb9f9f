"""What a user must know about the labels before a fine-tuning, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sensorium.evaluation.labels import count_records, is_missing
from sensorium.finetuning.few_labels import draws_labels
from sensorium.finetuning.labeled import FOLDS, LabeledRecords
from sensorium.recipe.schema import Finetune
from sensorium.types import Record

SMALL_VAL = 200
"""Records of a val part below which the metric of an epoch is too noisy to compare."""
NAMED = 5
"""Classes that are named in a sentence."""


def label_notes(
    options: Finetune,
    labeled: LabeledRecords,
    train: Sequence[Record],
    val: Sequence[Record],
    test: Sequence[Record],
    by_folds: bool,
) -> list[str]:
    """Return what happens with the labels of the records, one sentence each.

    Args:
        options: the recipe's `finetune`.
        labeled: what the first seed learns from.
        train: keys of the train part, of val, and of test: those of val and test only to be counted.
        val: as `train`.
        test: as `train`.
        by_folds: whether the epoch is chosen in folds of the train part.
    """
    columns = labeled.task.columns
    return [
        *_amount(options, labeled, columns, train),
        *_short_classes(options, labeled, columns),
        *_choice(columns, val, by_folds),
        *_unknown_classes(labeled, columns, test),
    ]


def _amount(options: Finetune, labeled: LabeledRecords, columns: list[str], train: Sequence[Record]) -> list[str]:
    named = f"the label '{columns[0]}'" if len(columns) == 1 else f"any of the {len(columns)} labels"
    with_label = _labeled(train, columns)
    notes = []
    if with_label < len(train):
        notes.append(f"{count_records(len(train) - with_label)} of {len(train)} in the train part lack {named}")
    unread = with_label - len(labeled.table)
    if unread and not draws_labels(options):
        notes.append(
            f"{count_records(unread)} of {with_label} with a label in the train part cannot be read, and are left out"
        )
    elif unread:
        each = " in each draw, another one for each seed" if options.seeds > 1 else ""
        notes.append(f"{len(labeled.table)} of {with_label} labeled records of the train part are used{each}")
    return notes


def _short_classes(options: Finetune, labeled: LabeledRecords, columns: list[str]) -> list[str]:
    wanted = options.labels_per_class
    if not isinstance(wanted, int):
        return []
    counts = Counter(
        (name, value) for name in columns for value in labeled.table.labels[name].tolist() if not is_missing(value)
    )
    short = [f"'{value}' of '{name}' ({count})" for (name, value), count in counts.items() if count < wanted]
    return [f"fewer than labels_per_class = {wanted} records have {_listed(short)}"] if short else []


def _choice(columns: list[str], val: Sequence[Record], by_folds: bool) -> list[str]:
    if by_folds:
        unused = f"; the val part ({count_records(len(val))}) is not used" if len(val) else ""
        return [f"the epoch is chosen in {FOLDS} folds of the labeled records{unused}"]
    count = _labeled(val, columns)
    if count >= SMALL_VAL:
        return []
    return [
        f"the epoch is chosen on {count_records(count)} of the val part, few enough to be a matter of luck: "
        f"data.val=0 chooses it in {FOLDS} folds of the train part"
    ]


def _unknown_classes(labeled: LabeledRecords, columns: list[str], test: Sequence[Record]) -> list[str]:
    if labeled.task.is_regression or len(columns) > 1:
        return []
    (column,) = columns
    known = set(labeled.table.labels[column].tolist())
    unknown = Counter(value for key in test if not is_missing(value := key.labels.get(column)) and value not in known)
    if not unknown:
        return []
    listed, count = _listed([f"'{value}'" for value in unknown]), unknown.total()
    return [
        f"{count_records(count)} of the test part {'has' if count == 1 else 'have'} a class that no labeled record of "
        f"the train part has, {listed}: each counts as an error"
    ]


def _labeled(keys: Sequence[Record], columns: list[str]) -> int:
    return sum(any(not is_missing(key.labels.get(name)) for name in columns) for key in keys)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
