"""Logistic regression whose matrix products are on any device.

Letters: N records, D features, C classes, K columns of weights (C, or 1 for two classes).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor

TOLERANCE = 1e-4
"""The largest entry of the gradient, of the mean loss, at which L-BFGS stops; as in scikit-learn."""


class LogisticRegression(ClassifierMixin, BaseEstimator):
    """Logistic regression with an L2 penalty, fitted by L-BFGS: the objective, and the optimum, of scikit-learn's.

    Softmax for three classes or more, and one weight vector for two; the intercept is not penalized. The loss and its
    gradient are computed in fp32 on a device; L-BFGS itself, on the weights alone, in fp64 on the host (SciPy).

    Args:
        C: inverse regularization strength, > 0.
        max_iter: largest number of iterations, > 0.
        device: where the features are.
    """

    def __init__(self, C: float = 1.0, max_iter: int = 200, device: torch.device | str = "cpu") -> None:
        self.C, self.max_iter, self.device = C, max_iter, device

    def fit(self, x_ND: np.ndarray, y_N: np.ndarray) -> LogisticRegression:
        """Fit to features and classes, two or more."""
        self.classes_, codes_N = np.unique(y_N, return_inverse=True)
        x, y = self._on_device(x_ND), torch.from_numpy(codes_N).to(self.device)
        width = x.shape[1]
        columns = len(self.classes_) if len(self.classes_) > 2 else 1
        penalty = 1.0 / (self.C * len(x))

        def loss_and_gradient(weights: np.ndarray) -> tuple[float, np.ndarray]:
            w_DK = torch.from_numpy(weights.reshape(width + 1, columns)).to(self.device, torch.float32)
            logits_NK = torch.addmm(w_DK[-1], x, w_DK[:-1])
            loss, error_NK = _mean_loss(logits_NK, y)
            gradient_DK = torch.cat([x.T @ error_NK + penalty * w_DK[:-1], error_NK.sum(0, keepdim=True)])
            loss = loss + 0.5 * penalty * w_DK[:-1].square().sum()
            both = torch.cat([loss.reshape(1), gradient_DK.flatten()]).double().cpu().numpy()  # one wait an iteration
            return float(both[0]), both[1:]

        found = minimize(
            loss_and_gradient,
            np.zeros((width + 1) * columns),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": self.max_iter, "maxls": 50, "gtol": TOLERANCE, "ftol": 64 * np.finfo(float).eps},
        )
        self.weights_DK = torch.from_numpy(found.x.reshape(width + 1, columns)).float()
        self.n_iter_ = np.array([found.nit])
        return self

    def decision_function(self, x_ND: np.ndarray) -> np.ndarray:
        """Return logits: float32 (N, C), or (N,) for two classes, positive for the second."""
        w_DK = self.weights_DK.to(self.device)
        logits_NK = torch.addmm(w_DK[-1], self._on_device(x_ND), w_DK[:-1]).cpu().numpy()
        return logits_NK if len(self.classes_) > 2 else logits_NK[:, 0]

    def predict(self, x_ND: np.ndarray) -> np.ndarray:
        """Return the most probable class of each record."""
        logits = self.decision_function(x_ND)
        return self.classes_[logits.argmax(1) if logits.ndim == 2 else (logits > 0).astype(int)]

    def _on_device(self, x_ND: np.ndarray) -> Tensor:
        return torch.as_tensor(np.asarray(x_ND)).to(self.device, torch.float32)


def _mean_loss(logits_NK: Tensor, y_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy, a scalar, and its gradient by the logits (N, K)."""
    if logits_NK.shape[1] == 1:
        loss_N = F.softplus(logits_NK[:, 0]) - logits_NK[:, 0] * y_N
        error_NK = logits_NK.sigmoid() - y_N[:, None]
    else:
        log_p_NK = logits_NK.log_softmax(1)
        loss_N = -log_p_NK.gather(1, y_N[:, None])[:, 0]
        error_NK = log_p_NK.exp() - F.one_hot(y_N, logits_NK.shape[1])
    return loss_N.mean(dtype=torch.float64), error_NK / len(y_N)
