import math

import pytest
import torch
import torch.nn.functional as F

from sensorium import losses
from sensorium.errors import SensoriumError
from tests.core.losses.references import cosine


def problem(dtype=torch.float64, seed=0):
    """Outputs and embeddings of three sequences of 4, 1 and 3 tokens; the last one is padded in front."""
    rng = torch.Generator().manual_seed(seed)
    h, e = (torch.randn(3, 4, 5, generator=rng, dtype=torch.float64).to(dtype) for _ in range(2))
    return h, e, torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 1, 1]], dtype=torch.bool)


def reference(h, e, mask):
    """Xu et al. 2025: of each token but the last, minus the cosine with the embedding of the next one."""
    each = []
    for b in range(len(h)):
        for t in range(h.shape[1] - 1):
            if mask[b, t] and mask[b, t + 1]:
                each.append(-float(cosine(h[b, t], e[b, t + 1])))
    return sum(each) / len(each), len(each)


def test_is_the_papers():
    h, e, mask = problem()
    expected, count = reference(h, e, mask)
    assert count == 5
    assert math.isclose(losses.next_embedding(h, e, mask), expected, rel_tol=1e-12)


def test_gradient_is_that_of_the_value_and_stops_at_the_embeddings():
    h, e, mask = problem()
    h, e = h.requires_grad_(), e.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: losses.next_embedding(x, e, mask), h)
    losses.next_embedding(h, e, mask).backward()
    assert e.grad is None
    predicting = mask & F.pad(mask, (0, 1))[:, 1:]
    assert h.grad[predicting].any(-1).all()
    assert not h.grad[~predicting].any()


def test_mutants_are_caught():
    """Mutants: no shift, shifted the other way, padding counted, records weighted alike, dot product, plus cosine."""
    h, e, mask = problem()
    right, _ = reference(h, e, mask)
    rows = [reference(h[i : i + 1], e[i : i + 1], mask[i : i + 1])[0] for i in (0, 2)]
    pairs = mask[:, 1:] & mask[:, :-1]
    here, back = F.cosine_similarity(h, e, dim=-1), F.cosine_similarity(h[:, 1:], e[:, :-1], dim=-1)
    for wrong in (
        -here[mask].mean(),
        -back[pairs].mean(),
        losses.next_embedding(h, e, torch.ones_like(mask)),
        -F.cosine_similarity(h[:, :-1], e[:, 1:], dim=-1)[mask[:, 1:]].mean(),  # of what follows padding
        sum(rows) / 2,
        -(h[:, :-1] * e[:, 1:]).sum(-1)[pairs].mean(),
        -right,
    ):
        assert not math.isclose(wrong, right, rel_tol=1e-3)


def test_norms_do_not_matter_and_what_is_predicted_right_costs_minus_one():
    h, e, mask = problem()
    assert math.isclose(losses.next_embedding(7 * h, 0.1 * e, mask), losses.next_embedding(h, e, mask), rel_tol=1e-12)
    assert losses.next_embedding(3 * e.roll(-1, 1), e, mask) == pytest.approx(-1)
    assert losses.next_embedding(-e.roll(-1, 1), e, mask) == pytest.approx(1)


def test_an_encoder_that_returns_its_input_is_at_chance():
    """Without the shift its loss would be -1, and there would be nothing to learn."""
    e = torch.randn(64, 16, 256, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(64, 16, dtype=torch.bool)
    assert abs(losses.next_embedding(e, e, mask)) < 0.01


@pytest.mark.parametrize("kind", ["no pair", "no record", "one token", "zero", "equal"])
def test_degenerate_sequences_stay_finite(kind):
    h, e, mask = problem(torch.float32)
    first = torch.arange(4) < 1
    h, e, mask = {
        "no pair": (h, e, mask & first),
        "no record": (h[:0], e[:0], mask[:0]),
        "one token": (h[:, :1], e[:, :1], mask[:, :1]),
        "zero": (0 * h, 0 * e, mask),
        "equal": (torch.ones_like(h), torch.ones_like(e), mask),
    }[kind]
    h = h.clone().requires_grad_()
    loss = losses.next_embedding(h, e, mask)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-1 if kind == "equal" else 0)
    assert h.grad.isfinite().all()
    assert kind == "equal" or not h.grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_fp32(dtype):
    h, e, mask = problem(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses.next_embedding((100 * h).to(dtype), (100 * e).to(dtype), mask)
    assert found.dtype == torch.float32
    assert math.isclose(found, reference(h, e, mask)[0], abs_tol=5e-3)


def test_shapes_that_differ_are_refused():
    h, e, mask = problem()
    with pytest.raises(SensoriumError, match=r"one shape \(B, T, D\)"):
        losses.next_embedding(h, e[:, :1], mask)
