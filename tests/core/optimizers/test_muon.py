"""Muon against a naive reference in fp64, torch's own Muon and AdamW, and its invariances."""

import math

import pytest
import torch
from torch import nn

from sensorium.optimizers.muon import COEFFICIENTS, Muon, muon, orthogonalized


def weights(*shapes):
    torch.manual_seed(0)
    return [nn.Parameter(0.1 * torch.randn(shape)) for shape in shapes]


def naive_update(matrix, momentum_buffer, grad, lr, decay, momentum):
    """One step of one matrix in fp64: Jordan et al. 2024 with the scale and weight decay of Liu et al. 2025."""
    momentum_buffer = momentum * momentum_buffer + (1 - momentum) * grad
    x = (1 - momentum) * grad + momentum * momentum_buffer
    x, (a, b, c) = x / x.norm(), COEFFICIENTS
    for _ in range(5):
        gram = x @ x.T
        x = a * x + b * gram @ x + c * gram @ gram @ x
    return matrix * (1 - lr * decay) - lr * 0.2 * math.sqrt(max(matrix.shape)) * x, momentum_buffer


@pytest.mark.parametrize("shape", [(6, 6), (4, 10), (10, 4)])
def test_steps_are_those_of_a_naive_reference_in_fp64(shape):
    (weight,) = weights(shape)
    optimizer = Muon([{"params": [weight], "weight_decay": 0.1, "orthogonal": True}], lr=0.02)
    expected, buffer = weight.detach().double(), torch.zeros(shape, dtype=torch.float64)
    for _ in range(5):
        weight.grad = torch.randn(shape)
        expected, buffer = naive_update(expected, buffer, weight.grad.double(), 0.02, 0.1, 0.95)
        optimizer.step()
    torch.testing.assert_close(weight.detach().double(), expected, rtol=0, atol=1e-5)


def test_steps_are_those_of_torch_up_to_its_bfloat16():
    (ours,), (theirs,) = weights((8, 6)), weights((8, 6))
    mine = Muon([{"params": [ours], "weight_decay": 0.1, "orthogonal": True}], lr=0.02)
    other = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        ours.grad = torch.randn(8, 6)
        theirs.grad = ours.grad.clone()
        mine.step()
        other.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=5 * 0.02 * 0.2 * math.sqrt(8) * 0.03)


def test_other_weights_move_as_by_adamw_to_the_bits():
    shapes = [(3, 4), (5,)]
    ours, theirs = weights(*shapes), weights(*shapes)
    optimizers = [
        Muon([{"params": ours, "weight_decay": 0.1}], lr=0.02, betas=(0.9, 0.98), eps=1e-6),
        torch.optim.AdamW(theirs, lr=0.02, weight_decay=0.1, betas=(0.9, 0.98), eps=1e-6),
    ]
    for _ in range(4):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape)
            other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 40), (2, 40, 8)])
def test_singular_values_end_near_one_and_their_vectors_stay(shape):
    torch.manual_seed(1)
    given = torch.randn(shape)
    u, s, vh = torch.linalg.svd(given, full_matrices=False)
    values = torch.linalg.svdvals(orthogonalized(given))
    is_large = s > 0.01 * s.norm(dim=1, keepdim=True)
    assert values.max() < 1.25
    assert values[is_large.flip(1) & is_large].min() > 0.65
    diagonal = u.mT @ orthogonalized(given) @ vh.mT
    off = diagonal - torch.diag_embed(diagonal.diagonal(dim1=1, dim2=2))
    assert off.abs().max() < 1e-3


def test_the_update_follows_rotations_and_not_the_size_of_the_gradient():
    torch.manual_seed(2)
    given = torch.randn(1, 6, 9)
    rotation = torch.linalg.qr(torch.randn(6, 6)).Q
    torch.testing.assert_close(orthogonalized(rotation @ given), rotation @ orthogonalized(given), atol=1e-4, rtol=0)
    torch.testing.assert_close(orthogonalized(1000 * given), orthogonalized(given), atol=1e-4, rtol=0)


def test_a_kernel_moves_as_the_flat_matrix():
    (kernel,), (flat,) = weights((4, 3, 2, 2)), weights((4, 12))
    optimizer = Muon([{"params": [kernel, flat], "weight_decay": 0.1, "orthogonal": True}], lr=0.02)
    kernel.data = kernel.data.contiguous(memory_format=torch.channels_last)
    flat.data.copy_(kernel.data.flatten(1))
    kernel.grad = torch.randn(4, 3, 2, 2)
    flat.grad = kernel.grad.flatten(1)
    optimizer.step()
    torch.testing.assert_close(kernel.flatten(1), flat, atol=1e-6, rtol=0)
    assert kernel.is_contiguous(memory_format=torch.channels_last)


def test_weights_without_a_gradient_stay_and_a_gradient_of_zero_only_decays():
    still, zero, vector = weights((3, 3), (3, 3), (3,))
    optimizer = Muon([{"params": [still, zero], "weight_decay": 0.5, "orthogonal": True}, {"params": [vector]}], lr=0.1)
    before = [w.detach().clone() for w in (still, zero, vector)]
    zero.grad = torch.zeros(3, 3)
    optimizer.step()
    assert torch.equal(still, before[0])
    assert torch.equal(vector, before[2])
    torch.testing.assert_close(zero.detach(), before[1] * 0.95)


def test_a_restored_state_goes_on_to_the_bits():
    def steps(module, optimizer, first, last):
        for step in range(first, last):
            torch.manual_seed(step)
            optimizer.zero_grad()
            module(torch.randn(7, 5)).square().mean().backward()
            optimizer.step()

    def new():
        torch.manual_seed(9)
        module = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 2))
        return module, muon(module, 0.01, 0.1)

    whole, again = new(), new()
    steps(*whole, 0, 6)
    steps(*again, 0, 3)
    resumed = new()
    resumed[0].load_state_dict(again[0].state_dict())
    resumed[1].load_state_dict(again[1].state_dict())
    steps(*resumed, 3, 6)
    assert all(torch.equal(a, b) for a, b in zip(whole[0].parameters(), resumed[0].parameters(), strict=True))


def test_a_module_without_hidden_matrices_has_adamw_alone():
    optimizer = muon(nn.Linear(3, 2), 0.1, 0.1)
    assert [group["orthogonal"] for group in optimizer.param_groups] == [False, False]
