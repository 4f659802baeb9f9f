"""LARS, for large batches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from sensorium.errors import check_range
from sensorium.optimizers.groups import parameter_groups


def lars(
    learner: nn.Module, lr: float, weight_decay: float, momentum: float = 0.9, trust: float = 0.001
) -> torch.optim.Optimizer:
    """LARS: SGD with layer-wise learning rates, for batches of thousands (You et al. 2017).

    Biases, norms and scalars have neither weight decay nor a scaled rate, as in SimCLR and BYOL.

    Args:
        learner: what is trained.
        lr: peak learning rate.
        weight_decay: of matrices, added to the gradient.
        momentum: of the scaled gradient, 0 to below 1.
        trust: trust coefficient, the factor of the ratio of weight norm to gradient norm, > 0.
    """
    check_range("optimizer 'lars'", "[0, 1)", momentum=momentum)
    check_range("optimizer 'lars'", "(0, inf)", trust=trust)
    return LARS(parameter_groups(learner, weight_decay), lr=lr, momentum=momentum, trust=trust)


lars.auto = {"lr": lambda size: 0.3 * (size.batch / 256)}  # type: ignore[attr-defined]  # linear in the batch


class LARS(torch.optim.Optimizer):
    """LARS: SGD with layer-wise learning rates, by the ratio of weight norm to gradient norm (You et al. 2017).

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        momentum: momentum of the scaled gradient.
        weight_decay: added to the gradient; groups without it are not scaled either.
        trust: the trust coefficient, a factor of the norm ratio.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure=None):  # type: ignore[override]
        """Take one step."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            grads = [weight.grad for weight in weights]
            if group["weight_decay"] > 0:
                grads = list(torch._foreach_add(grads, weights, alpha=group["weight_decay"]))
                torch._foreach_mul_(grads, _trust_ratios(weights, grads, group["trust"]))
            for weight in weights:
                if "momentum_buffer" not in self.state[weight]:
                    self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
            moments = [self.state[weight]["momentum_buffer"] for weight in weights]
            torch._foreach_mul_(moments, group["momentum"])
            torch._foreach_add_(moments, grads)
            torch._foreach_add_(weights, torch._foreach_mul(moments, group["lr"]), alpha=-1)


def _trust_ratios(weights: list[Tensor], grads: list[Tensor], trust: float) -> list[Tensor]:
    """Return the factor of each gradient, a scalar: `trust` times the ratio of norms, 1 where either norm is 0."""
    weight_norms_N, grad_norms_N = (torch.stack(torch._foreach_norm(tensors)) for tensors in (weights, grads))
    ratios_N = trust * weight_norms_N / grad_norms_N
    is_scaled_N = (weight_norms_N > 0) & (grad_norms_N > 0)
    return list(torch.where(is_scaled_N, ratios_N, torch.ones_like(ratios_N)).unbind())
