"""Optimizers and learning rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from sensorium.recipe.schema import Optimizer as Options


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


def build_optimizer(module: nn.Module, options: Options, fused: bool = False) -> torch.optim.Optimizer:
    """Return the optimizer of a module's trainable parameters; weight decay is for matrices only.

    Args:
        module: with weights on their device.
        options: of the recipe.
        fused: take the whole step of adamw and sgd in one kernel, on CUDA; otherwise torch chooses.
    """
    weights = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.ndim >= 2], "weight_decay": options.weight_decay},
        {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    lr = float(options.lr)
    if options.name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=options.betas, eps=options.eps, fused=fused or None)
    if options.name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=options.momentum, fused=fused or None)
    return LARS(groups, lr=lr, momentum=options.momentum)


def lr_at(step: int, steps: int, options: Options) -> float:
    """Return the learning rate of optimizer step `step` (from 0) of `steps`: linear warm-up, then cosine."""
    peak, warm = float(options.lr), float(options.warmup) * steps  # numbers: `training.auto` resolved `auto`
    if step < warm:
        return peak * (step + 1) / (math.floor(warm) + 1)
    if options.schedule == "constant":
        return peak
    done = (step - warm) / max(steps - warm, 1)
    return peak * (options.min_lr_ratio + (1 - options.min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * done)))


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every group; as a function of the step, the schedule has no state to resume."""
    for group in optimizer.param_groups:
        group["lr"] = lr
