"""Estimators whose trainings take a moment."""

import numpy as np

TINY = (
    "train.steps=2",
    "data.batch=4",
    "finetune.epochs=1",
    "modalities.timeseries.encoder={name: dilated, width: 8, dim: 8, depth: 2}",
)
TINY_TEXT = (
    "train.steps=2",
    "data.batch=4",
    "finetune.epochs=1",
    "modalities.text.encoder={name: transformer, width: 16, depth: 1, heads: 2}",
)


def texts(count=20):
    """Texts, and the class that they tell."""
    y = np.where(np.arange(count) % 2, "warm", "cold")
    return [f"a {kind} day, number {number}" for number, kind in enumerate(y)], y


def series(count=40, seed=0):
    """Series of 12 steps, and the class that their slope is of."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 12)).cumsum(1)
    return x, np.where(x[:, -1] > x[:, 0], "up", "down")
