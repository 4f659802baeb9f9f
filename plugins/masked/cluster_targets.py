"""What kinds of target clusters have in common: they compare predictions of masked tokens with clusters.

Letters: B records, T tokens, P width of an input target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from sensorium import Assignments, Encoders, SensoriumError
from sensorium.errors import RecipeError
from sensorium.plugins.masked.masked_prediction import Predicted


class ClusterTargets(nn.Module, ABC):
    """Assigns tokens to clusters, and compares predictions with them.

    Args:
        clusters: K, number of clusters.
    """

    fits: int = 0
    """Number of records of the train part that it learns from before the first step."""
    fitted: Tensor

    def __init__(self, clusters: int) -> None:
        super().__init__()
        self.clusters = clusters
        self.register_buffer("fitted", torch.tensor(self.fits == 0))
        self._is_fitted = False

    @abstractmethod
    def build(self, encoders: Encoders, dim: int) -> None:
        """Make heads, buffers and teachers for predictions of width `dim`."""

    @abstractmethod
    def forward(self, predicted: Predicted, view: Any, encode: Any) -> tuple[Tensor, dict[str, Tensor], Assignments]:
        """Return the loss of predictions, logs, and how tokens are assigned.

        Args:
            predicted: predictions of masked tokens.
            view: the whole view.
            encode: as `Objective.forward` has it.
        """

    def fit(self, batches: Any, encode: Any) -> None:
        """Learn from batches of views of the train part."""

    def after_step(self, momentum: float) -> None:
        """Update a teacher."""

    def check_fitted(self) -> None:
        """Raise before the first step of a training that has not fitted the clusters; the device is read once.

        Raises:
            SensoriumError: when nothing has been fitted, and no fitted state been loaded.
        """
        if not self._is_fitted:
            self._is_fitted = bool(self.fitted)
        if not self._is_fitted:
            raise SensoriumError(
                "The objective 'masked-clusters' has learned no clusters from the train part yet: call "
                f"learner.fit(batches), the views of some {self.fits} records, before the first step."
            )


def float_targets(view: Any, encode: Any) -> Tensor:
    """Return the input targets of tokens (B, T, P).

    Raises:
        RecipeError: when they are class ids.
    """
    targets = encode.token_targets(view)
    if not targets.is_floating_point():
        raise RecipeError(
            "The tokens of this encoder are class ids, and so clusters already: predict them with the objective "
            "'simmim', or cluster features, by objective.targets=online, or k-means with objective.k_means={of: start}."
        )
    return targets
