"""A task as a plugin writes it, out of public names alone: ordered classes."""

import numpy as np
import torch
import torch.nn.functional as F

from sensorium import Task, hookimpl


class Ordinal(Task):
    """Ordered classes by one binary decision for each rank: is it above? (Niu et al. 2016).

    Args:
        label: the label column, with numbers.
        modality: that of the outputs.
        smoothing: of the binary targets, 0 to below 0.5.
    """

    metric = "MAE ↓"

    def __init__(self, label: str, modality: str, smoothing: float = 0.0) -> None:
        self.label, self.modality, self.smoothing = label, modality, smoothing

    def fit(self, train):
        """Read the ranks."""
        self.ranks = sorted({value for value in train.labels[self.label].tolist() if value is not None})

    @property
    def output_dim(self):
        """One less than ranks."""
        return len(self.ranks) - 1

    def target(self, labels):
        """Return the number of the rank."""
        value = labels.get(self.label)
        return [float(self.ranks.index(value)) if value in self.ranks else np.nan]

    def loss(self, outputs_BK, targets_BL):
        """Return the mean binary cross-entropy of the decisions."""
        known_B1 = ~targets_BL.isnan()
        above_BK = (targets_BL.nan_to_num() > torch.arange(self.output_dim, device=targets_BL.device)).to(outputs_BK)
        above_BK = above_BK * (1 - 2 * self.smoothing) + self.smoothing
        losses_BK = F.binary_cross_entropy_with_logits(outputs_BK, above_BK, reduction="none")
        return losses_BK.where(known_B1, 0.0).sum() / (known_B1.sum() * self.output_dim).clamp(min=1)

    def to_prediction(self, outputs_K):
        """Return the value of the rank."""
        return self.ranks[int((outputs_K > 0).sum())]

    def measure(self, test):
        """Return the mean absolute error in ranks."""
        ranks_N = np.array([self.target({self.label: value})[0] for value in test.labels[self.label].tolist()])
        found_N = (test.features[self.modality] > 0).sum(1)
        return {"MAE ↓": float(np.nanmean(np.abs(found_N - ranks_N)))}

    def chance(self, test):
        """Return the error of the middle rank."""
        ranks_N = np.array([self.target({self.label: value})[0] for value in test.labels[self.label].tolist()])
        return {"MAE ↓": float(np.nanmean(np.abs(len(self.ranks) // 2 - ranks_N)))}

    def state(self):
        """Return the ranks."""
        return {"labels": [self.label], "ranks": self.ranks}

    def load_state(self, state):
        """Restore the ranks."""
        self.ranks = list(state["ranks"])


@hookimpl
def sensorium_register_tasks(register):
    """Register it."""
    register("ordinal", f"{__name__}:Ordinal", summary="ordered classes")
