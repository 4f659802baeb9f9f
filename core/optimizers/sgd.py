"""Stochastic gradient descent."""

from __future__ import annotations

import torch
from torch import nn

from sensorium.errors import check_range
from sensorium.optimizers.groups import parameter_groups


def sgd(
    learner: nn.Module, lr: float, weight_decay: float, momentum: float = 0.9, fused: bool = False
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum; weight decay, for matrices only, is added to the gradient.

    Args:
        learner: what is trained.
        lr: peak learning rate.
        weight_decay: of matrices.
        momentum: 0 to below 1.
        fused: whether the step is one kernel.
    """
    check_range("optimizer 'sgd'", "[0, 1)", momentum=momentum)
    return torch.optim.SGD(parameter_groups(learner, weight_decay), lr=lr, momentum=momentum, fused=fused or None)


sgd.auto = {"lr": lambda size: 0.06 * (size.batch / 256)}  # type: ignore[attr-defined]  # linear in the batch
