"""Muon: orthogonalized momentum for hidden matrices, AdamW for all other weights, as one optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate
from torch.optim.adamw import adamw as adamw_step

from sensorium.errors import check_range
from sensorium.optimizers.adamw import root_of_batch
from sensorium.optimizers.groups import decayed, hidden_matrices, trainable

COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of the quintic: the slope at 0 is as steep as singular values that end in about [0.7, 1.2] allow (Jordan et al.)."""
ITERATIONS = 5
EPS = 1e-7


def muon(
    learner: nn.Module,
    lr: float,
    weight_decay: float,
    momentum: float = 0.95,
    nesterov: bool = True,
    betas: tuple[float, float] = (0.9, 0.98),
    eps: float = 1e-6,
) -> torch.optim.Optimizer:
    """Muon: hidden matrices move along their orthogonalized momentum (Jordan et al. 2024), other weights by AdamW.

    Hidden matrices are those of `hidden_matrices`; convolution kernels are flattened to (out, in x kernel). Their
    update has the root mean square of one of AdamW, 0.2 sqrt(max(rows, columns)), and decoupled weight decay (Liu et
    al. 2025), so that lr and weight_decay are those of AdamW for all weights.

    Args:
        learner: what is trained.
        lr: peak learning rate, of all weights.
        weight_decay: of matrices.
        momentum: of the gradient of hidden matrices, 0 to below 1.
        nesterov: whether their momentum looks one step ahead.
        betas: of AdamW: decay of the running means of the gradient and of its square, each 0 to below 1.
        eps: of AdamW: added to the root of the mean square, > 0.
    """
    check_range("optimizer 'muon'", "[0, 1)", momentum=momentum, betas=betas)
    check_range("optimizer 'muon'", "(0, inf)", eps=eps)
    hidden = hidden_matrices(learner)
    is_hidden = {id(weight) for weight in hidden}
    others = decayed((weight for weight in trainable(learner) if id(weight) not in is_hidden), weight_decay)
    groups: list[dict[str, Any]] = [{"params": hidden, "weight_decay": weight_decay, "orthogonal": True}]
    return Muon(groups * bool(hidden) + others, lr, momentum, nesterov, betas, eps)


muon.auto = {"lr": root_of_batch}  # type: ignore[attr-defined]


class Muon(torch.optim.Optimizer):
    """Muon for groups that are marked "orthogonal", AdamW for the others.

    torch.optim.Muon takes matrices alone, neither kernels nor the weights that AdamW is for; its step is the same for
    a matrix, in bfloat16. Here matrices of one shape are orthogonalized together.

    Args:
        params: groups of parameters.
        lr: learning rate.
        momentum: of orthogonal groups.
        nesterov: whether their momentum looks one step ahead.
        betas: of AdamW.
        eps: of AdamW.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        nesterov: bool = True,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-6,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "betas": betas, "eps": eps}
        super().__init__(params, defaults | {"weight_decay": 0.0, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure=None):  # type: ignore[override]
        """Take one step."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights and group["orthogonal"]:
                self._orthogonal_step(group, weights)
            elif weights:
                self._adamw_step(group, weights)

    def _orthogonal_step(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        grads: list[Any] = [weight.grad for weight in weights]
        moments = [self._state(weight, "momentum_buffer") for weight in weights]
        torch._foreach_lerp_(moments, grads, 1 - group["momentum"])
        steps = torch._foreach_lerp(grads, moments, group["momentum"]) if group["nesterov"] else moments
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        of_shape: dict[torch.Size, list[int]] = {}
        for at, weight in enumerate(weights):
            of_shape.setdefault(weight.shape, []).append(at)
        for shape, rows in of_shape.items():
            stacked_NRC = torch.stack([_whole(steps[at]).flatten(1) for at in rows])
            updates_NRC = orthogonalized(stacked_NRC).to(stacked_NRC.dtype)
            scale = group["lr"] * 0.2 * math.sqrt(max(stacked_NRC.shape[1:]))
            for at, update_RC in zip(rows, updates_NRC, strict=True):
                weights[at].sub_(_sharded_as(update_RC.reshape(shape), weights[at]), alpha=scale)

    def _adamw_step(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        for weight in weights:
            self.state[weight].setdefault("step", torch.tensor(0.0))
        adamw_step(
            weights,
            [weight.grad for weight in weights],  # type: ignore[misc]
            [self._state(weight, "exp_avg") for weight in weights],
            [self._state(weight, "exp_avg_sq") for weight in weights],
            [],
            [self.state[weight]["step"] for weight in weights],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def _state(self, weight: Tensor, name: str) -> Tensor:
        """Return a running mean of one weight, 0 at first."""
        state = self.state[weight]
        if name not in state:
            state[name] = torch.zeros_like(weight)
        return state[name]


def orthogonalized(matrices_NRC: Tensor) -> Tensor:
    """Return matrices with the singular vectors of the given ones, and singular values of about 1.

    Five quintic Newton-Schulz iterations (Jordan et al. 2024): singular values end between 0.7 and 1.2, those below
    a thousandth of the norm lower.

    Args:
        matrices_NRC: N matrices of R rows and C columns, float32; bfloat16 is enough on a GPU, and is used there.

    Returns:
        N matrices, bfloat16 on CUDA, else of the same dtype.
    """
    a, b, c = COEFFICIENTS
    x = matrices_NRC.bfloat16() if matrices_NRC.is_cuda else matrices_NRC
    is_tall = x.shape[1] > x.shape[2]
    x = x.mT if is_tall else x
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=EPS)
    for _ in range(ITERATIONS):
        gram_NRR = x @ x.mT
        x = a * x + (b * gram_NRR + c * gram_NRR @ gram_NRR) @ x
    return x.mT if is_tall else x


def _whole(tensor: Tensor) -> Tensor:
    """Return all rows of a matrix of which this rank may have a shard; a collective operation."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _sharded_as(whole: Tensor, weight: Tensor) -> Tensor:
    """Return this rank's part of a matrix that every rank has whole."""
    if not isinstance(weight, DTensor):
        return whole
    replicas = [Replicate()] * weight.device_mesh.ndim
    return DTensor.from_local(whole, weight.device_mesh, replicas, run_check=False).redistribute(
        placements=weight.placements
    )
