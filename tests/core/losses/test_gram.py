import math

import pytest
import torch

from sensorium.errors import SensoriumError
from sensorium.losses.gram import gram_anchoring


def problem(b=3, t=5, d=4, e=6, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(b, t, width, generator=rng, dtype=torch.float64) for width in (d, e))
    mask = torch.arange(t) < torch.tensor([t, 2, 1, 0])[torch.arange(b) % 4, None]
    return x, y, mask


def cosine(a, b):
    lengths = math.sqrt(sum(v * v for v in a)) * math.sqrt(sum(v * v for v in b))
    return sum(v * w for v, w in zip(a, b, strict=True)) / lengths if lengths else 0.0


def reference(x, y, mask):
    """Siméoni et al. 2025, eq. 2, as the authors' code has it: the mean over the pairs of an image, and over images."""
    of_records = []
    for x_TD, y_TE, mask_T in zip(x.tolist(), y.tolist(), mask.tolist(), strict=True):
        at = [t for t, valid in enumerate(mask_T) if valid]
        squares = [(cosine(x_TD[i], x_TD[j]) - cosine(y_TE[i], y_TE[j])) ** 2 for i in at for j in at]
        if squares:
            of_records.append(sum(squares) / len(squares))
    return sum(of_records) / len(of_records)


def all_of(mask):
    return torch.ones_like(mask)


def test_is_the_papers_mean_over_pairs_and_records():
    x, y, mask = problem(4)
    found = gram_anchoring(x, y, mask)
    assert found.dtype == torch.float64
    assert math.isclose(found, reference(x, y, mask), rel_tol=1e-12)
    assert math.isclose(gram_anchoring(x, y), reference(x, y, all_of(mask)), rel_tol=1e-12)
    assert math.isclose(gram_anchoring(x, y, all_of(mask)), gram_anchoring(x, y), rel_tol=1e-12)


def mutant_values(x, y, mask):
    """Mutants: no unit tokens, a sum, negatives removed, padding counted, all pairs alike, one matrix of the batch."""
    unit = lambda z: torch.nn.functional.normalize(z, dim=-1)  # noqa: E731
    gram = lambda z: z @ z.mT  # noqa: E731
    pairs = mask[:, :, None] & mask[:, None]
    squares = (gram(unit(x)) - gram(unit(y))).square()
    cut = (gram(unit(x)).relu() - gram(unit(y)).relu()).square()
    mean = lambda each: torch.stack([s[p].mean() for s, p in zip(each, pairs, strict=True) if p.any()]).mean()  # noqa: E731
    return {
        "no norm": mean((gram(x) - gram(y)).square()),
        "a sum": torch.stack([s[p].sum() for s, p in zip(squares, pairs, strict=True)]).mean(),
        "norm": mean(squares.sqrt()),
        "no negatives": mean(cut),
        "padding": squares.mean(),
        "pairs alike": squares[pairs].mean(),
        "records without tokens": mean(squares) * 3 / 4,
        "one matrix": (gram(unit(x)[mask]) - gram(unit(y)[mask])).square().mean(),
    }


def test_mutants_are_caught():
    x, y, mask = problem(4)
    for name, wrong in mutant_values(x, y, mask).items():
        assert not math.isclose(wrong, gram_anchoring(x, y, mask), rel_tol=1e-3), name


def test_features_may_turn_and_grow_but_tokens_may_not_move():
    x, _, mask = problem()
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
    assert gram_anchoring(x, x, mask) == 0
    assert gram_anchoring(3 * x @ rotation, x, mask) < 1e-25
    assert gram_anchoring(x.roll(1, dims=1), x) > 1e-2
    together = gram_anchoring(x.roll(1, dims=1), x.flip(2).square().roll(1, dims=1))
    assert math.isclose(together, gram_anchoring(x, x.flip(2).square()), rel_tol=1e-12)


def test_gradient_is_that_of_the_value_and_the_teacher_has_none():
    x, y, mask = problem(4, 3, 2, 3)
    x, y = x.requires_grad_(), y.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: gram_anchoring(z, y, mask), x)
    assert torch.autograd.gradcheck(lambda z: gram_anchoring(z, y), x)
    gram_anchoring(x, y, mask).backward()
    assert y.grad is None
    assert x.grad[~mask].eq(0).all()
    assert x.grad[0].ne(0).all()


CASES = {
    "no row": lambda x: x[:0],
    "one row": lambda x: x[:1],
    "one token": lambda x: x[:, :1],
    "no token": lambda x: x[:, :0],
    "identical": lambda x: x[:1, :1].expand_as(x),
    "antipodal": lambda x: x[:1, :1] * (-1.0) ** torch.arange(x.shape[1])[:, None],
    "zero": torch.zeros_like,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("padded", [False, True])
def test_degenerate_tokens_have_a_finite_gradient(case, padded):
    x, y, mask = problem()
    tokens = CASES[case](x).clone().requires_grad_()
    b, t = tokens.shape[:2]
    loss = gram_anchoring(tokens, y[:b, :t], mask[:b, :t] if padded else None)
    loss.backward()
    assert 0 <= loss <= 4
    assert tokens.grad.isfinite().all()
    if case in ("no row", "one token", "no token"):
        assert loss < 1e-25


def test_opposite_similarities_are_the_farthest():
    x = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    assert gram_anchoring(x, x.abs()) == 2  # 0 on the diagonal, 4 off it


def test_no_valid_token_is_zero_with_zero_gradient():
    x, y, mask = problem()
    loss = gram_anchoring(x.requires_grad_(), y, mask & False)
    loss.backward()
    assert loss == 0
    assert x.grad.eq(0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_fp32(dtype):
    x, y, mask = problem(4, 9, 16, 16)
    x, y = (100 * x).to(dtype), (100 * y).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gram_anchoring(x, y, mask)
    assert found.dtype == torch.float32
    assert math.isclose(found, reference(x.double(), y.double(), mask), rel_tol=1e-5)


def test_a_teacher_of_another_grid_is_refused():
    x, y, _ = problem()
    for wrong in (y[:, :3], y[:2], y[0]):
        with pytest.raises(SensoriumError, match="resize the teacher's to the student's tokens"):
            gram_anchoring(x, wrong)
