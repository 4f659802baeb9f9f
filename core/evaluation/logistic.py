"""Logistic regression whose matrix products are on any device, for several penalties at once.

Letters: N records, D features, C classes, K columns of weights (C, or 1 for two classes), P penalties.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

TOLERANCE = 1e-4
"""The largest entry of the gradient, of the mean loss, at which L-BFGS stops; as in scikit-learn."""
MEMORY = 10
"""Pairs of steps and gradient changes that L-BFGS remembers."""
GRAM_ROWS, GRAM_WIDTH = 8_192, 4_096
"""The first Hessian is that of so many records; of more features than this, its diagonal alone."""
HALVINGS, SUFFICIENT = 12, 1e-4
"""How often a step is halved before rounding is all that is left, and the decrease that it must bring (Armijo)."""


class LogisticRegression:
    """Logistic regression with an L2 penalty, fitted by L-BFGS: the objective, and the optimum, of scikit-learn's.

    Softmax for three classes or more, and one weight vector for two; the intercept is not penalized.

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
        codes = torch.from_numpy(codes_N).to(self.device)
        path = fit_path(self._on_device(x_ND), codes, len(self.classes_), [self.C], self.max_iter)
        self.weights_DK, self.n_iter_ = path.weights_PDK[0], path.iterations_P
        return self

    def decision_function(self, x_ND: np.ndarray) -> np.ndarray:
        """Return logits: float32 (N, C), or (N,) for two classes, positive for the second."""
        return logits(self._on_device(x_ND), self.weights_DK)

    def predict(self, x_ND: np.ndarray) -> np.ndarray:
        """Return the most probable class of each record."""
        decision = self.decision_function(x_ND)
        return self.classes_[decision.argmax(1) if decision.ndim == 2 else (decision > 0).astype(int)]

    def score(self, x_ND: np.ndarray, y_N: np.ndarray) -> float:
        """Return the accuracy."""
        return float(np.mean(self.predict(x_ND) == y_N))

    def _on_device(self, x_ND: np.ndarray) -> Tensor:
        return torch.as_tensor(np.asarray(x_ND)).to(self.device, torch.float32)


def logits(x_ND: Tensor, weights_DK: Tensor) -> np.ndarray:
    """Return logits on the host: float32 (N, C), or (N,) for two classes.

    Args:
        x_ND: features.
        weights_DK: weights, the intercept in the last row: (D + 1, K).
    """
    logits_NK = torch.addmm(weights_DK[-1], x_ND, weights_DK[:-1]).cpu().numpy()
    return logits_NK if logits_NK.shape[1] > 1 else logits_NK[:, 0]


@dataclass
class Path:
    """The solutions for several penalties.

    Args:
        weights_PDK: fp32 (P, D + 1, K), the intercept in the last row, on the device of the features.
        iterations_P: int (P,), on the host.
    """

    weights_PDK: Tensor
    iterations_P: np.ndarray


@torch.no_grad()
def fit_path(
    x_ND: Tensor, y_N: Tensor, classes: int, Cs: Sequence[float], max_iter: int, start_DK: Tensor | None = None
) -> Path:
    """Fit logistic regression for several penalties at once: one matrix product serves them all.

    L-BFGS (Liu and Nocedal 1989) in fp32 whose first inverse Hessian is not a multiple of the identity but that of the
    loss at uniform probabilities, c X'X / N + penalty: of correlated features, such as pixels, it takes tens of
    iterations instead of thousands. Logits are linear along a step, so that its length costs no matrix product.

    Args:
        x_ND: features, fp32.
        y_N: class of each record, int64, 0 to `classes` - 1, on the same device.
        classes: number of classes, >= 2.
        Cs: P inverse regularization strengths, > 0.
        max_iter: largest number of iterations.
        start_DK: weights to start from, (D + 1, K); None starts from zeros.
    """
    count, width = x_ND.shape
    columns = classes if classes > 2 else 1
    penalty_P = 1.0 / (torch.tensor(list(Cs), dtype=torch.float64) * count).to(x_ND.device)
    weights_PDK = x_ND.new_zeros(len(Cs), width + 1, columns)
    if start_DK is not None:
        weights_PDK += start_DK
    iterations_P = np.full(len(Cs), max_iter)
    hessian = _FirstHessian(x_ND, classes, penalty_P)
    # Only penalties that are not done take part: their positions, and everything that belongs to them.
    active = np.arange(len(Cs))
    problem = _Problem(x_ND, y_N, penalty_P, weights_PDK.clone())
    memory: list[tuple[Tensor, Tensor]] = []
    for iteration in range(max_iter + 1):
        going_A = (problem.largest_A > TOLERANCE) & ~problem.is_stuck_A
        done_A = ~going_A if iteration < max_iter else torch.ones_like(going_A)
        if done_A.any():
            done = done_A.nonzero()[:, 0]
            at = torch.from_numpy(active[done.numpy()]).to(x_ND.device)
            weights_PDK[at] = problem.weights_ADK[done.to(x_ND.device)]
            iterations_P[active[done.numpy()]] = iteration
            if done_A.all():
                break
            going = going_A.nonzero()[:, 0]
            active, on_device = active[going.numpy()], going.to(x_ND.device)
            problem, hessian = problem.select(going), hessian.select(on_device)
            memory = [(step[on_device], change[on_device]) for step, change in memory]
        direction_ADK = _direction(problem.gradient_ADK, memory, hessian)
        memory = [*memory, problem.advance(direction_ADK)][-MEMORY:]
    return Path(weights_PDK, iterations_P)


class _Problem:
    """The mean loss with penalties at some weights: A problems on the same records."""

    def __init__(self, x_ND: Tensor, y_N: Tensor, penalty_A: Tensor, weights_ADK: Tensor) -> None:
        self.x_ND, self.y_N, self.penalty_A, self.weights_ADK = x_ND, y_N, penalty_A, weights_ADK
        self.is_stuck_A = torch.zeros(len(penalty_A), dtype=torch.bool)
        self.logits_NAK = self._product(weights_ADK)
        self.loss_A = self._loss(self.logits_NAK, weights_ADK)
        self.gradient_ADK = self._gradient(self.logits_NAK, weights_ADK)
        self.largest_A = _largest(self.gradient_ADK).cpu()

    def select(self, keep: Tensor) -> _Problem:
        """Return the problems at some positions, int64 on the host."""
        chosen = object.__new__(_Problem)
        chosen.x_ND, chosen.y_N = self.x_ND, self.y_N
        chosen.is_stuck_A, chosen.largest_A = self.is_stuck_A[keep], self.largest_A[keep]
        keep = keep.to(self.x_ND.device)
        chosen.penalty_A = self.penalty_A[keep]
        chosen.weights_ADK, chosen.gradient_ADK = self.weights_ADK[keep], self.gradient_ADK[keep]
        chosen.logits_NAK, chosen.loss_A = self.logits_NAK[:, keep], self.loss_A[keep]
        return chosen

    def advance(self, direction_ADK: Tensor) -> tuple[Tensor, Tensor]:
        """Step along a direction of descent; return the step and the change of the gradient.

        The step is halved until the loss decreases enough; where it does not, the problem is stuck. The host waits once
        where the whole step is good.
        """
        along_NAK = self._product(direction_ADK)
        slope_A = (self.gradient_ADK * direction_ADK).sum((1, 2)).double()
        length_A = torch.ones_like(slope_A)
        for _ in range(HALVINGS):
            weights_ADK = self.weights_ADK + length_A.float()[:, None, None] * direction_ADK
            logits_NAK = torch.addcmul(self.logits_NAK, length_A.float()[:, None], along_NAK)
            loss_A = self._loss(logits_NAK, weights_ADK)
            gradient_ADK = self._gradient(logits_NAK, weights_ADK)
            enough_A = loss_A <= self.loss_A + SUFFICIENT * length_A * slope_A
            enough, largest = torch.stack([enough_A.double(), _largest(gradient_ADK).double()]).cpu()
            if enough.all():
                break
            length_A = torch.where(enough_A, length_A, length_A / 2)
        moves_A, before = enough_A[:, None, None], (self.weights_ADK, self.gradient_ADK)
        self.is_stuck_A = enough == 0
        self.largest_A = torch.where(self.is_stuck_A, self.largest_A, largest.to(self.largest_A.dtype))
        self.logits_NAK = torch.where(enough_A[:, None], logits_NAK, self.logits_NAK)
        self.loss_A = torch.where(enough_A, loss_A, self.loss_A)
        self.weights_ADK = torch.where(moves_A, weights_ADK, before[0])
        self.gradient_ADK = torch.where(moves_A, gradient_ADK, before[1])
        return self.weights_ADK - before[0], self.gradient_ADK - before[1]

    def _product(self, weights_ADK: Tensor) -> Tensor:
        """Return the logits of weights, (N, A, K)."""
        problems, rows, columns = weights_ADK.shape
        flat_DM = weights_ADK.transpose(0, 1).reshape(rows, problems * columns)
        return torch.addmm(flat_DM[-1], self.x_ND, flat_DM[:-1]).view(-1, problems, columns)

    def _loss(self, logits_NAK: Tensor, weights_ADK: Tensor) -> Tensor:
        """Return the mean loss with its penalty, fp64 (A,)."""
        squares_A = weights_ADK[:, :-1].double().square().sum((1, 2))
        return mean_loss(logits_NAK, self.y_N) + 0.5 * self.penalty_A * squares_A

    def _gradient(self, logits_NAK: Tensor, weights_ADK: Tensor) -> Tensor:
        """Return the gradient by the weights, (A, D + 1, K)."""
        error_NAK = loss_gradient(logits_NAK, self.y_N)
        flat_NM = error_NAK.flatten(1)
        gradient_DM = torch.cat([self.x_ND.T @ flat_NM, flat_NM.sum(0, keepdim=True)])
        gradient_ADK = gradient_DM.view(-1, *error_NAK.shape[1:]).transpose(0, 1).contiguous()
        gradient_ADK[:, :-1] += self.penalty_A.float()[:, None, None] * weights_ADK[:, :-1]
        return gradient_ADK


def _largest(gradient_ADK: Tensor) -> Tensor:
    """Return the largest entry of each gradient, (A,)."""
    return gradient_ADK.abs().amax((1, 2))


class _FirstHessian:
    """The Hessian of the loss at uniform probabilities for each penalty, of a sample of the records, factorized."""

    def __init__(self, x_ND: Tensor, classes: int, penalty_P: Tensor) -> None:
        curvature = 0.25 if classes == 2 else 1.0 / classes  # of one logit, at uniform probabilities
        stride = -(-len(x_ND) // GRAM_ROWS)
        sample_ND = x_ND[::stride]
        width = x_ND.shape[1]
        self.is_dense = width <= GRAM_WIDTH
        if self.is_dense:
            sample_ND = torch.cat([sample_ND, sample_ND.new_ones(len(sample_ND), 1)], 1)
            gram_DD = (sample_ND.T @ sample_ND).double() * (curvature / len(sample_ND))
            ridge_PD = penalty_P[:, None].expand(-1, width + 1).clone()
            ridge_PD[:, -1] = 0
            ridge_PD += 1e-6 * gram_DD.diagonal().mean()
            self.factor_ADD = torch.linalg.cholesky(gram_DD + torch.diag_embed(ridge_PD)).float()
        else:
            diagonal_D = sample_ND.double().square().mean(0) * curvature
            diagonal_D = torch.cat([diagonal_D, diagonal_D.new_full((1,), curvature)])
            self.diagonal_AD = (diagonal_D + penalty_P[:, None]).float()

    def select(self, keep: Tensor) -> _FirstHessian:
        """Return those of the penalties at some positions, int64 on the device."""
        chosen = copy.copy(self)
        if self.is_dense:
            chosen.factor_ADD = self.factor_ADD[keep]
        else:
            chosen.diagonal_AD = self.diagonal_AD[keep]
        return chosen

    def solve(self, gradient_ADK: Tensor) -> Tensor:
        """Return the inverse Hessian times a gradient."""
        if self.is_dense:
            return torch.cholesky_solve(gradient_ADK, self.factor_ADD)
        return gradient_ADK / self.diagonal_AD[:, :, None]


def _direction(gradient_ADK: Tensor, memory: Sequence[tuple[Tensor, Tensor]], hessian: _FirstHessian) -> Tensor:
    """Return the direction of L-BFGS: the two-loop recursion, for all problems at once."""

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum((1, 2), keepdim=True)

    remainder = gradient_ADK.clone()
    factors = []
    for step, change in reversed(memory):
        curvature = dot(step, change)
        inverse = torch.where(curvature > 0, 1 / curvature, 0.0)  # a pair without curvature is passed over
        factor = inverse * dot(step, remainder)
        remainder = remainder - factor * change
        factors.append((factor, inverse))
    result = hessian.solve(remainder)
    for (step, change), (factor, inverse) in zip(memory, reversed(factors), strict=True):
        result = result + step * (factor - inverse * dot(change, result))
    descends = dot(gradient_ADK, result) > 0
    return -torch.where(descends, result, gradient_ADK)


def mean_loss(logits_NAK: Tensor, y_N: Tensor) -> Tensor:
    """Return the mean cross-entropy of each problem, fp64 (A,)."""
    if logits_NAK.shape[2] == 1:
        loss_NA = F.softplus(logits_NAK[..., 0]) - logits_NAK[..., 0] * y_N[:, None]
    else:
        index_NA1 = y_N[:, None, None].expand(-1, logits_NAK.shape[1], 1)
        loss_NA = logits_NAK.logsumexp(2) - logits_NAK.gather(2, index_NA1)[..., 0]
    return loss_NA.mean(0, dtype=torch.float64)


def loss_gradient(logits_NAK: Tensor, y_N: Tensor) -> Tensor:
    """Return the gradient of the mean cross-entropy by the logits, (N, A, K)."""
    if logits_NAK.shape[2] == 1:
        error_NAK = logits_NAK.sigmoid() - y_N[:, None, None]
    else:
        error_NAK = logits_NAK.softmax(2)
        index_NA1 = y_N[:, None, None].expand(-1, logits_NAK.shape[1], 1)
        error_NAK.scatter_add_(2, index_NA1, error_NAK.new_full((1, 1, 1), -1.0).expand(index_NA1.shape))
    return error_NAK / len(y_N)
