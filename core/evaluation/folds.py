"""Dealing records into folds: whole groups, classes shared out evenly, a function of the seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from sensorium.seeding import seed_of

Candidate = TypeVar("Candidate")


def deal(groups: Sequence[str], folds: int, seed: int, classes: Sequence[Any] | None = None) -> np.ndarray:
    """Deal records into folds.

    Groups are shuffled, put in order of their (first record's) class and dealt out one by one, so that folds hold
    equally many groups of each class, to within one. Without classes they are dealt as shuffled.

    Args:
        groups: N group names; records of one group land in one fold.
        folds: how many.
        seed: of the shuffle.
        classes: N classes, of any one kind or several.

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


def select(
    candidates: Sequence[Candidate],
    score: Callable[[Candidate, np.ndarray, np.ndarray], float],
    folds_N: np.ndarray,
    held: Sequence[int],
) -> Candidate:
    """Choose the candidate with the best mean score on held-out folds of the train part; the first of equals.

    Args:
        candidates: what to choose from; a single one is chosen without being scored.
        score: `score(candidate, learn_rows, held_rows)`, larger is better.
        folds_N: the fold of each train record.
        held: the folds to hold out, one after the other.
    """
    if len(candidates) == 1:
        return candidates[0]
    splits = [(np.flatnonzero(folds_N != fold), np.flatnonzero(folds_N == fold)) for fold in held]
    means = [np.mean([score(candidate, *split) for split in splits]) for candidate in candidates]
    return candidates[int(np.argmax(means))]
