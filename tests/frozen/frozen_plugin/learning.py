"""An objective and an evaluator."""

import numpy as np
import torch.nn.functional as F

from sensorium import Evaluator, Needs, Objective, Outcome, SensoriumError, heads, losses


class Contrast(Objective):
    """Two views of a record against all others.

    Args:
        dim: width of the projection.
        temperature: of the logits, > 0.
    """

    needs = Needs(views=2)

    def __init__(self, dim: int = 8, temperature: float = 0.2) -> None:
        super().__init__()
        self.dim, self.temperature = dim, temperature

    def build(self, encoders):
        self.project = heads.projection_head(encoders.single.dim, 32, self.dim)

    def forward(self, views, encode):
        x_BD, y_BD = (F.normalize(self.project(f.pooled).float(), dim=-1) for f in encode(views))
        loss = losses.nt_xent(x_BD, y_BD, self.temperature)
        agreement = (x_BD * y_BD).sum(-1).mean()
        return Outcome(loss, {"agreement": agreement.detach()}, {"projection": x_BD.detach()})


class Centroid(Evaluator):
    """Classify by the nearest class mean.

    Args:
        label: the label column.
    """

    def __init__(self, label: str | None = None) -> None:
        self.label = label

    def fit(self, train):
        x_ND, labels_N = _labeled(train, self.label)
        self.names = sorted(set(labels_N))
        self.mean_CD = np.stack([x_ND[labels_N == name].mean(0) for name in self.names])

    def measure(self, test):
        x_ND, labels_N = _labeled(test, self.label)
        distance_NC = np.linalg.norm(x_ND[:, None] - self.mean_CD, axis=-1)
        return {"accuracy": float(np.mean(np.array(self.names)[distance_NC.argmin(1)] == labels_N))}

    def chance(self, test):
        _, labels_N = _labeled(test, self.label)
        return {"accuracy": max(float(np.mean(labels_N == name)) for name in self.names)}


def _labeled(table, label):
    """Return the features (N, D) of the first modality and the labels (N,) of one column."""
    name = label or next(iter(table.labels), None)
    if name not in table.labels:
        raise SensoriumError(f"There is no label column '{name}'; there are: {', '.join(table.labels) or 'none'}.")
    return next(iter(table.features.values())), table.labels[name].astype(str)
