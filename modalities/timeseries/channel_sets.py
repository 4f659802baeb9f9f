"""Scaling of series whose channels differ from record to record, and what the train part says of each name.

Letters: C channels, T time steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.modalities.timeseries.channel_batch import ChannelSeries, channel_id, index_names
from sensorium.modalities.timeseries.scaling import ESTIMATORS, Scaling, StandardEstimator

LARGEST_LEVEL = 10.0
"""Levels are cut at this size: of a logarithm, a factor of 22,000."""
SHOWN_SETS, SHOWN_NAMES = 5, 4


class ChannelSets:
    """Scales each channel within its record, and remembers the level that each name has in the train part.

    A channel's level is asinh((mean - m) / s) and log(std / s), of its mean and standard deviation in the record and
    those of its name over the train part, m and s. A name that the train part lacks has level zero.

    Args:
        scale: how a channel is scaled within its record; "none" leaves values as they are, and levels zero.
    """

    def __init__(self, scale: Scaling) -> None:
        self.scale = scale
        self.levels: dict[str, tuple[float, float]] = {}
        self._sets: Counter[tuple[str, ...]] = Counter()

    @property
    def names(self) -> dict[int, str]:
        """The names of the train part by their ids."""
        return {channel_id(name): name for name in self.levels}

    def fit(self, series: Iterable[tuple[np.ndarray, np.ndarray, tuple[str, ...]]]) -> None:
        """Take mean and standard deviation of each name from the series of the train part (see `scaled`)."""
        self.levels, self._sets = {}, Counter()
        estimators: dict[str, StandardEstimator] = {}
        for values_CT, origin_C, channels in series:
            self._sets[channels] += 1
            for name, values_T, origin in zip(channels, values_CT, origin_C, strict=True):
                estimators.setdefault(name, StandardEstimator(1)).update(values_T[None] + origin)
        for name, estimator in estimators.items():
            mean_1, std_1 = estimator.estimate()
            self.levels[name] = float(mean_1[0]), float(std_1[0])

    def scaled(self, values_CT: np.ndarray, origin_C: np.ndarray, channels: tuple[str, ...]) -> ChannelSeries:
        """Return a series with each channel scaled by its own statistics.

        Args:
            values_CT: float64, nan where a value is missing, each channel relative to its origin.
            origin_C: float64, what is to be added to a channel for its absolute values.
            channels: their names.
        """
        estimator = ESTIMATORS[self.scale](len(values_CT))
        estimator.update(values_CT)
        center_C, std_C = estimator.estimate()
        with np.errstate(over="ignore"):
            scaled_CT = ((values_CT - center_C[:, None]) / std_C[:, None]).astype(np.float32)
        levels_C2 = np.zeros((len(values_CT), 2), np.float32)
        if self.scale != "none":
            levels_C2[:] = self._levels(values_CT, origin_C, channels)
        return ChannelSeries(scaled_CT, channels, levels_C2)

    def _levels(self, values_CT: np.ndarray, origin_C: np.ndarray, channels: tuple[str, ...]) -> np.ndarray:
        observed_CT = ~np.isnan(values_CT)
        count_C1 = np.maximum(observed_CT.sum(1, keepdims=True), 1)
        mean_C1 = values_CT.sum(1, where=observed_CT, keepdims=True) / count_C1
        squares_C1 = np.square(values_CT - mean_C1).sum(1, where=observed_CT, keepdims=True)
        own_C2 = np.concatenate([mean_C1 + origin_C[:, None], np.sqrt(squares_C1 / count_C1)], 1)
        is_known_C1 = np.array([[name in self.levels] for name in channels])
        usual_C2 = np.array([self.levels.get(name, (0.0, 1.0)) for name in channels])
        shift_C = np.arcsinh((own_C2[:, 0] - usual_C2[:, 0]) / usual_C2[:, 1])
        factor_C = np.log(np.maximum(own_C2[:, 1] / usual_C2[:, 1], np.exp(-LARGEST_LEVEL)))
        levels_C2 = np.stack([shift_C, factor_C], 1).clip(-LARGEST_LEVEL, LARGEST_LEVEL)
        return np.where(is_known_C1, levels_C2, 0.0)

    def notes(self) -> list[str]:
        """Return which channel sets the train part has, the commonest first."""
        if not self._sets:
            return []
        said = [f"{channel_set(channels)} ({count:,} series)" for channels, count in self._sets.most_common(SHOWN_SETS)]
        more = len(self._sets) - SHOWN_SETS
        and_more = f" and {more} more" if more > 0 else ""
        return [
            f"{len(self.levels):,} channel names in {len(self._sets):,} channel sets: {'; '.join(said)}{and_more}",
            *self._unnamed(),
        ]

    def _unnamed(self) -> Iterator[str]:
        """Say when channels of several sets are known by their index alone."""
        counts = sorted(len(channels) for channels in self._sets if channels == index_names(len(channels)))
        if len(counts) > 1:
            listed = f"{', '.join(map(str, counts[:-1]))} and {counts[-1]}"
            yield (
                f"series of {listed} channels have no channel names, and channel 0 of one counts as that of "
                "another: name them where it is not"
            )

    def state(self) -> dict[str, Any]:
        """Return the levels of each name."""
        return {name: list(level) for name, level in self.levels.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self.levels = {name: (float(mean), float(std)) for name, (mean, std) in state.items()}


def channel_set(channels: Sequence[str]) -> str:
    """Return a channel set in words: "2 channels: x, y"."""
    shown = ", ".join(channels[:SHOWN_NAMES]) + (", ..." if len(channels) > SHOWN_NAMES else "")
    return f"{len(channels)} channel{'s' * (len(channels) != 1)}: {shown}"
