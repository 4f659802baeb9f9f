"""The training of attention probes: a whole grid of learning rates and weight decays at once, and the choice of one.

Letters: N train records, M validation records, B of a batch, P candidates of the grid, F folds, G = F x P probes, C
outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.evaluation.attention_probes import AttentionProbes, CachedTokens, outputs_of

BATCH = 128
LEAST_STEPS = 100
"""Of a training, however few records there are."""
CHECKS = 20
"""How often the probes are validated."""
PATIENCE = 6
"""Validations without a better one after which a training ends."""
WARM_UP = 0.1
"""Fraction of the steps in which the learning rate rises."""
BETAS, EPS = (0.9, 0.999), 1e-8

Loss = Callable[[Tensor, Tensor], Tensor]
"""Outputs (B, G, C) and targets of B records -> the loss of each record and probe, (B, G)."""
Figure = Callable[[Tensor, Tensor], Tensor]
"""Outputs (M, P, C) and targets of M records -> what each candidate is worth, larger is better, fp64 (P,)."""


class AdamW:
    """AdamW (Loshchilov and Hutter 2019) with a learning rate and a weight decay for each of G probes.

    Args:
        weights: tensors (G, ...).
        lr_G: peak learning rates.
        decay_G: weight decays.
    """

    def __init__(self, weights: Sequence[Tensor], lr_G: Tensor, decay_G: Tensor) -> None:
        self.weights, self.lr_G, self.decay_G, self.step_number = list(weights), lr_G, decay_G, 0
        self.first = [torch.zeros_like(weight) for weight in weights]
        self.second = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Change the weights by their gradients, which are dropped; `factor` is that of the peak learning rates."""
        self.step_number += 1
        (beta, beta2), number = BETAS, self.step_number
        for weight, first, second in zip(self.weights, self.first, self.second, strict=True):
            gradient = weight.grad
            assert gradient is not None, "every weight takes part in the outputs"
            shape = [-1] + [1] * (weight.ndim - 1)
            lr, decay = (factor * self.lr_G).view(shape), self.decay_G.view(shape)
            weight.mul_(1 - lr * decay)
            first.lerp_(gradient, 1 - beta)
            second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            scale = (second / (1 - beta2**number)).sqrt_().add_(EPS)
            weight.sub_(lr * (first / (1 - beta**number)) / scale)
            weight.grad = None


class Schedule(NamedTuple):
    """The steps of a training.

    Args:
        steps: their number.
        checks: after which of them the probes are validated.
    """

    steps: int
    checks: tuple[int, ...]

    @classmethod
    def of(cls, records: int, epochs: int) -> Schedule:
        """Return that of so many epochs over some records, of `LEAST_STEPS` at least."""
        steps = max(epochs * math.ceil(records / BATCH), LEAST_STEPS)
        return cls(steps, tuple(sorted({math.ceil(steps * (n + 1) / CHECKS) for n in range(CHECKS)})))

    def factor(self, step: int) -> float:
        """Return the factor of the learning rate: a linear warm-up, then a cosine to 0."""
        warm_up = max(int(WARM_UP * self.steps), 1)
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(self.steps - warm_up, 1)))


@dataclass
class Task:
    """What probes learn.

    Args:
        tokens: of the N train records.
        targets: theirs, on the device of the tokens.
        loss: of each record and probe.
        figure: what probes are chosen by.
        schedule: of the learning rate and the validation.
        new: returns so many new probes, which start alike.
        seed: of the order of the records.
    """

    tokens: CachedTokens
    targets: Tensor
    loss: Loss
    figure: Figure
    schedule: Schedule
    new: Callable[[int], AttentionProbes]
    seed: int

    def train(
        self,
        probes: AttentionProbes,
        lr_G: Tensor,
        decay_G: Tensor,
        weight_NG: Tensor | None = None,
        check: Callable[[int], bool] = lambda step: False,
        last: int | None = None,
    ) -> None:
        """Train probes on the same batches.

        Args:
            probes: G probes.
            lr_G: their peak learning rates.
            decay_G: their weight decays.
            weight_NG: 1 where a probe learns from a record, else 0; None for all ones.
            check: called with the step after which probes are validated; True ends the training.
            last: the step after which it ends; None for the last of the schedule.
        """
        optimizer, rng = AdamW(probes.weights(), lr_G, decay_G), np.random.default_rng(self.seed)
        order, at = np.zeros(0, np.int64), 0
        for step in range(last or self.schedule.steps):
            if at >= len(order):
                order, at = rng.permutation(len(self.tokens.x)), 0
            rows = order[at : at + BATCH]
            at += BATCH
            on_device = torch.from_numpy(rows).to(self.tokens.device)
            loss_BG = self.loss(probes(*self.tokens.batch(rows)), self.targets[on_device])
            weight_BG = torch.ones_like(loss_BG) if weight_NG is None else weight_NG[on_device]
            ((loss_BG * weight_BG).sum(0) / weight_BG.sum(0).clamp(min=1)).sum().backward()
            optimizer.step(self.schedule.factor(step))
            if step + 1 in self.schedule.checks and check(step + 1):
                return


@dataclass
class Held:
    """The validation records of F folds.

    Args:
        tokens: of the records that the rows are of.
        targets: theirs, on the device.
        rows: of each fold, int64 (M,).
        is_of_train: whether they are train records, which probes of other folds learn from.
    """

    tokens: CachedTokens
    targets: Tensor
    rows: Sequence[np.ndarray]
    is_of_train: bool


class Choice(NamedTuple):
    """The chosen probe.

    Args:
        probe: one probe.
        lr: its peak learning rate.
        decay: its weight decay.
        steps: for how many steps it was trained.
        figure: what it was worth on the validation records; None where nothing was chosen.
    """

    probe: AttentionProbes
    lr: float
    decay: float
    steps: int
    figure: float | None = None


def trained(task: Task, lr: float, decay: float) -> Choice:
    """Train a probe with one learning rate and weight decay for all steps."""
    probe, steps = task.new(1), task.schedule.steps
    lr_G, decay_G = (torch.tensor([of], device=task.tokens.device) for of in (lr, decay))
    task.train(probe, lr_G, decay_G)
    return Choice(probe, lr, decay, steps)


def choose(task: Task, held: Held, lrs: Sequence[float], decays: Sequence[float]) -> Choice:
    """Train a probe of each learning rate, weight decay and fold at once, and return the best one.

    The best figure over candidates and validations wins, then the least loss. A probe that was validated on train
    records is trained again, on all of them, for as many steps.
    """
    grid, folds, device = list(product(lrs, decays)), len(held.rows), task.tokens.device
    probes = task.new(folds * len(grid))
    lr_G, decay_G = (torch.tensor(of * folds, device=device) for of in map(list, zip(*grid, strict=True)))
    weight_NG = None
    if held.is_of_train:
        weight_NG = torch.ones(len(task.tokens.x), folds * len(grid), device=device)
        for fold, rows in enumerate(held.rows):
            weight_NG[torch.from_numpy(rows), fold * len(grid) : (fold + 1) * len(grid)] = 0
    best: tuple[float, float] | None = None
    chosen, since = (0, 0, probes), 0

    def check(step: int) -> bool:
        nonlocal best, chosen, since
        values_P, losses_P = _validated(task, held, probes, len(grid))
        at = max(range(len(grid)), key=lambda candidate: (values_P[candidate], -losses_P[candidate]))
        since += 1
        found = values_P[at], -losses_P[at]
        if best is None or found > best:
            best, chosen, since = found, (step, at, probes.select(at)), 0
        return since >= PATIENCE

    task.train(probes, lr_G, decay_G, weight_NG, check)
    steps, at, probe = chosen
    if held.is_of_train:
        probe = task.new(1)
        task.train(probe, lr_G[at : at + 1], decay_G[at : at + 1], last=steps)
    assert best is not None, "probes are validated after the last step, if not before"
    return Choice(probe, *grid[at], steps, best[0])


def _validated(task: Task, held: Held, probes: AttentionProbes, candidates: int) -> tuple[list[float], list[float]]:
    """Return figure and loss of each of P candidates on the validation records, means over folds."""
    measured = []
    for fold, rows in enumerate(held.rows):
        outputs = outputs_of(probes, held.tokens, rows)[:, fold * candidates : (fold + 1) * candidates]
        targets = held.targets[torch.from_numpy(rows).to(outputs.device)]
        measured.append(torch.stack([task.figure(outputs, targets), task.loss(outputs, targets).double().mean(0)]))
    values_P, losses_P = torch.stack(measured).mean(0).cpu()
    values_P, losses_P = values_P.nan_to_num(nan=-math.inf).tolist(), losses_P.nan_to_num(nan=math.inf).tolist()
    return values_P, losses_P


def cross_entropy(outputs_BGC: Tensor, y_B: Tensor) -> Tensor:
    """Return the cross-entropy of each record and probe, (B, G)."""
    return F.cross_entropy(outputs_BGC.transpose(1, 2), y_B[:, None].expand(-1, outputs_BGC.shape[1]), reduction="none")


def squared_error(outputs_BGC: Tensor, y_B: Tensor) -> Tensor:
    """Return the squared error of each record and probe, (B, G)."""
    return (outputs_BGC[..., 0] - y_B[:, None]).square()


def accuracy(outputs_MPC: Tensor, y_M: Tensor) -> Tensor:
    """Return the fraction of records whose largest output is that of their class, fp64 (P,)."""
    return (outputs_MPC.argmax(2) == y_M[:, None]).double().mean(0)


def r2(outputs_MPC: Tensor, y_M: Tensor) -> Tensor:
    """Return 1 less the squared error relative to the variance of the targets, fp64 (P,)."""
    return 1 - squared_error(outputs_MPC, y_M).double().mean(0) / y_M.double().var(correction=0).clamp(min=1e-12)
