"""Handwritten digits as point clouds, and computed solids."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sensorium import Record, Source, check_range

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LANGUAGES = {
    "en": WORDS,
    "de": ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
    "fr": ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"),
}
"""The digits in words, by language."""


class DigitClouds(Source):
    """Handwritten digits as sets of points: 1,797 records of 8 x 8 pixels, bundled with scikit-learn (UCI, CC BY 4.0).

    Field "points" is (N, 3): across, up and ink of each pixel with more ink than `threshold`, in random order. Field
    "text" names the digit in one of three languages, in turn. Label "class" is the digit; records of one digit are one
    group of positives in retrieval by "label:class".

    Args:
        threshold: least ink of a pixel that is a point, 0 to 15.
    """

    fields = ("points", "text")

    def __init__(self, threshold: float = 4.0) -> None:
        check_range("source 'digit-clouds'", "[0, 15]", threshold=threshold)
        from sklearn.datasets import load_digits

        digits = load_digits()
        self._images, self._digits, self._threshold = digits.images, digits.target, threshold

    def __len__(self) -> int:
        return len(self._digits)

    def key(self, index: int) -> Record:
        """Return the record at `index` without its values."""
        return Record(f"digit-{range(len(self))[index]}", {}, {"class": str(self._digits[index])})

    def __getitem__(self, index: int) -> Record:
        key, ink = self.key(index), self._images[index]
        down, across = np.nonzero(ink > self._threshold)
        points_N3 = np.stack([across, 7.0 - down, ink[down, across] / 16], axis=1)
        order_N = np.random.default_rng(index).permutation(len(points_N3))
        words = list(LANGUAGES.values())[index % len(LANGUAGES)]
        return Record(key.id, {"points": points_N3[order_N], "text": words[self._digits[index]]}, key.labels)


Shape = Literal["sphere", "cube", "cylinder", "cone", "torus"]
SHAPES: tuple[Shape, ...] = ("sphere", "cube", "cylinder", "cone", "torus")


class Solids(Source):
    """Points on the surfaces of computed solids of random proportions: sphere, cube, cylinder, cone, torus.

    Field "points" is (N, 3), N from 32 to `points`; field "text" names the solid. Label "class" is the solid.

    Args:
        records: number of records, >= 5.
        points: largest number of points of a cloud, >= 32.
        seed: of the random numbers.
    """

    fields = ("points", "text")

    def __init__(self, records: int = 500, points: int = 128, seed: int = 0) -> None:
        check_range("source 'solids'", "[5, inf)", records=records)
        check_range("source 'solids'", "[32, inf)", points=points)
        self._records, self._points, self._seed = records, points, seed

    def __len__(self) -> int:
        return self._records

    def key(self, index: int) -> Record:
        """Return the record at `index` without its values."""
        index = range(len(self))[index]
        return Record(f"solid-{index}", {}, {"class": SHAPES[index % len(SHAPES)]})

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        rng = np.random.default_rng([self._seed, index])
        shape = SHAPES[index % len(SHAPES)]
        points_N3 = surface(shape, int(rng.integers(32, self._points + 1)), rng) * rng.uniform(0.7, 1.3, 3)
        return Record(key.id, {"points": points_N3, "text": f"a {shape}"}, key.labels)


def surface(shape: Shape, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return random points on a solid of size about 1: float64 (N, 3)."""
    turn_N, height_N = rng.uniform(0, 2 * np.pi, count), rng.uniform(-1, 1, count)
    circle_N2 = np.stack([np.cos(turn_N), np.sin(turn_N)], axis=1)
    if shape == "sphere":
        radius_N = np.sqrt(1 - height_N**2)
    elif shape == "cylinder":
        radius_N = np.ones(count)
    elif shape == "cone":
        height_N = 1 - 2 * np.sqrt(rng.uniform(0, 1, count))
        radius_N = (1 - height_N) / 2
    elif shape == "torus":
        tube_N = rng.uniform(0, 2 * np.pi, count)
        radius_N, height_N = 0.7 + 0.3 * np.cos(tube_N), 0.3 * np.sin(tube_N)
    else:
        points_N3 = rng.uniform(-1, 1, (count, 3))
        points_N3[np.arange(count), rng.integers(0, 3, count)] = rng.choice([-1.0, 1.0], count)
        return points_N3
    return np.concatenate([circle_N2 * radius_N[:, None], height_N[:, None]], axis=1)
