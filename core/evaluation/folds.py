"""Cross-validation folds: stratified by class, groups kept together, a deterministic function of the seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from sensorium.seeding import seed_of

Candidate = TypeVar("Candidate")


def assign_folds(groups: Sequence[str], folds: int, seed: int, classes: Sequence[Any] | None = None) -> np.ndarray:
    """Assign records to folds.

    Groups are shuffled, sorted by class (that of their first record) and assigned round-robin, so that the numbers of
    groups of a class in two folds differ by one at most. Without classes the assignment is not stratified.

    Args:
        groups: N group names; the records of a group are assigned to one fold.
        folds: number of folds.
        seed: of the shuffle.
        classes: N classes, of any type.

    Returns:
        The fold of each record, int64 (N,).
    """
    _, firsts, codes_N = np.unique(np.asarray(groups, dtype=str), return_index=True, return_inverse=True)
    order = np.random.default_rng(seed_of("folds", seed)).permutation(len(firsts))
    if classes is not None:
        names = np.array([str(classes[first]) for first in firsts])
        order = order[np.argsort(names[order], kind="stable")]
    folds_of_groups = np.empty(len(firsts), np.int64)
    folds_of_groups[order] = np.arange(len(firsts)) % folds
    return folds_of_groups[codes_N]


def select_by_validation(
    candidates: Sequence[Candidate],
    score: Callable[[Candidate, np.ndarray, np.ndarray], float],
    folds_N: np.ndarray,
    validation_folds: Sequence[int],
) -> Candidate:
    """Return the candidate with the best mean score over validation folds of the train part; the first of equals.

    Args:
        candidates: hyperparameter values; a single one is returned without being scored.
        score: `score(candidate, train_rows, validation_rows)`, larger is better.
        folds_N: the fold of each train record.
        validation_folds: the folds to validate on; each time, all others are trained on.
    """
    if len(candidates) == 1:
        return candidates[0]
    splits = [(np.flatnonzero(folds_N != fold), np.flatnonzero(folds_N == fold)) for fold in validation_folds]
    means = [np.mean([score(candidate, *split) for split in splits]) for candidate in candidates]
    return candidates[int(np.argmax(means))]
