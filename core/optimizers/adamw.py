"""AdamW."""

from __future__ import annotations

import torch
from torch import nn

from sensorium.errors import check_range
from sensorium.optimizers.groups import parameter_groups
from sensorium.types import TrainingSize


def adamw(
    learner: nn.Module,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.98),
    eps: float = 1e-6,
    fused: bool = False,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019); weight decay is for matrices only.

    Args:
        learner: what is trained.
        lr: peak learning rate.
        weight_decay: of matrices.
        betas: decay of the running means of the gradient and of its square, each 0 to below 1.
        eps: added to the root of the mean square, > 0.
        fused: whether the step is one kernel.
    """
    check_range("optimizer 'adamw'", "[0, 1)", betas=betas)
    check_range("optimizer 'adamw'", "(0, inf)", eps=eps)
    groups = parameter_groups(learner, weight_decay)
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=fused or None)


def root_of_batch(size: TrainingSize) -> float:
    """Return the learning rate of an adaptive optimizer: 1e-3 at a batch of 256, by its root (Malladi et al. 2022)."""
    return 1e-3 * (size.batch / 256) ** 0.5


adamw.auto = {"lr": root_of_batch}  # type: ignore[attr-defined]
