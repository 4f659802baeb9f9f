import math

import pytest
import torch

from sensorium import losses


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def softmax(scores, temperature):
    powers = [math.exp(float(s) / temperature) for s in scores]
    return [p / sum(powers) for p in powers]


def cross_entropy(targets, scores, temperature):
    return -sum(float(t) * math.log(p) for t, p in zip(targets, softmax(scores, temperature), strict=True))


def swapped(scores, targets, temperature):
    """Caron et al. 2021, equation 3: no view predicts its own target."""
    terms = [
        cross_entropy(targets[i][b], scores[j][b], temperature)
        for i in range(len(targets))
        for j in range(len(scores))
        if i != j
        for b in range(len(scores[0]))
    ]
    return sum(terms) / len(terms)


@pytest.fixture
def views():
    """Scores of two large and two small views, targets of the large ones."""
    scores = [draw(3, 6, seed=s) for s in range(4)]
    return scores, [draw(3, 6, seed=9 + s).softmax(1) for s in range(2)]


def test_swapped_cross_entropy_is_the_papers(views):
    scores, targets = views
    for temperature in (0.1, 1.0):
        found = losses.swapped_cross_entropy(scores, targets, temperature)
        assert math.isclose(found, swapped(scores, targets, temperature), rel_tol=1e-12)


def test_mutants_are_caught(views):
    """Mutants: a view's own target kept, the roles of teacher and student exchanged."""
    scores, targets = views
    found = losses.swapped_cross_entropy(scores[:2], targets, 0.1)
    own = sum(-(t * (s / 0.1).log_softmax(1)).sum(1).mean() for t in targets for s in scores[:2]) / 4
    assert not math.isclose(found, own, rel_tol=1e-3)
    assert not math.isclose(found, losses.swapped_cross_entropy(scores[:2], targets[::-1], 0.1), rel_tol=1e-3)


def test_terms_of_views_have_weights(views):
    """DINOv3 halves the terms of local views, and still divides by the number of all pairs."""
    scores, targets = views
    pairs = [(i, j) for i in range(2) for j in range(4) if i != j]
    each = {(i, j): cross_entropy_of(targets[i], scores[j]) for i, j in pairs}
    halved = sum(each[i, j] * (0.5 if j > 1 else 1) for i, j in pairs) / len(pairs)
    found = losses.swapped_cross_entropy(scores, targets, 0.1, [1, 1, 0.5, torch.tensor(0.5)])
    assert math.isclose(found, halved, rel_tol=1e-12)
    without = losses.swapped_cross_entropy(scores, targets, 0.1)
    assert torch.equal(losses.swapped_cross_entropy(scores, targets, 0.1, [1.0] * 4), without)


def cross_entropy_of(targets, scores):
    return sum(cross_entropy(t, s, 0.1) for t, s in zip(targets, scores, strict=True)) / len(scores)


def test_masked_cross_entropy_is_the_mean_of_examples_means():
    mask = torch.tensor([[True, True, True, False], [False, False, False, False], [False, True, False, False]])
    scores, targets = draw(4, 6), draw(4, 6, seed=1).softmax(1)
    each = [cross_entropy(targets[n], scores[n], 0.1) for n in range(4)]
    expected = (sum(each[:3]) / 3 + 0 + each[3]) / 3
    assert math.isclose(losses.masked_cross_entropy(scores, targets, mask, 0.1), expected, rel_tol=1e-12)
    assert not math.isclose(expected, sum(each) / 4, rel_tol=1e-3)  # mutant: every token with the same weight


def test_nothing_masked_is_zero_with_zero_gradient():
    scores = torch.zeros(0, 6, requires_grad=True)
    loss = losses.masked_cross_entropy(scores, torch.zeros(0, 6), torch.zeros(2, 4, dtype=torch.bool), 0.1)
    loss.backward()
    assert loss == 0


def test_centered_softmax_and_its_center():
    """Caron et al. 2021, section 3.1 and equation 4."""
    scores, center = draw(5, 4), draw(4, seed=1)
    found = losses.centered_softmax(scores, center, 0.07)
    for n in range(5):
        assert found[n].tolist() == pytest.approx(softmax(scores[n] - center, 0.07), rel=1e-10)
    moved = losses.update_center(center, scores, 0.9)
    for k in range(4):
        assert math.isclose(moved[k], 0.9 * center[k] + 0.1 * sum(scores[:, k].tolist()) / 5, rel_tol=1e-12)
    assert torch.equal(losses.update_center(center, scores[:0]), center)


def test_centering_lets_no_prototype_stay_ahead():
    scores = draw(64, 8)
    scores[:, 2] += 20
    center = torch.zeros(8, dtype=torch.float64)
    for _ in range(80):
        center = losses.update_center(center, scores)
    assert losses.centered_softmax(scores, 0 * center, 0.1)[:, 2].mean() > 0.99
    assert losses.centered_softmax(scores, center, 0.1)[:, 2].mean() < 0.3


def sinkhorn(scores, epsilon, iterations):
    """Caron et al. 2020, algorithm in appendix A.1, on plain numbers."""
    n, k = len(scores), len(scores[0])
    q = [[math.exp(float(s) / epsilon) for s in row] for row in scores]
    for _ in range(iterations):
        sums = [sum(q[i][j] for i in range(n)) for j in range(k)]
        q = [[q[i][j] / sums[j] / k for j in range(k)] for i in range(n)]
        q = [[x / sum(row) / n for x in row] for row in q]
    return [[x * n for x in row] for row in q]


@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_sinkhorn_knopp_is_the_papers(epsilon):
    scores = torch.nn.functional.normalize(draw(7, 4), dim=1)
    expected = sinkhorn(scores.tolist(), epsilon, 3)
    for row, wanted in zip(losses.sinkhorn_knopp(scores, epsilon, 3).tolist(), expected, strict=True):
        assert row == pytest.approx(wanted, rel=1e-9)


def test_sinkhorn_knopp_balances_and_stays_finite():
    scores = draw(8, 4)
    scores[:, 0] += 3  # one prototype ahead of all
    found = losses.sinkhorn_knopp(scores, 1.0, 50)
    assert torch.allclose(found.sum(1), torch.ones(8, dtype=torch.float64))
    assert torch.allclose(found.sum(0), torch.full((4,), 2.0, dtype=torch.float64), rtol=1e-3)
    assert scores.softmax(1).sum(0)[0] > 5  # without it
    for temperature in (0.01, 1.0):
        for rows in (100 * scores.float(), torch.zeros(8, 4), scores[:1].float()):
            assert losses.sinkhorn_knopp(rows, temperature).isfinite().all()


def test_koleo_is_the_papers():
    """Sablayrolles et al. 2019, equation 2: minus the mean log distance to the nearest."""
    x = draw(7, 5)
    u = [row / row.norm() for row in x]
    nearest = [min(float((u[i] - u[j]).norm()) for j in range(7) if j != i) for i in range(7)]
    assert math.isclose(losses.koleo(x), -sum(math.log(d) for d in nearest) / 7, rel_tol=1e-12)
    # Mutant: a row that is its own nearest is at distance zero.
    assert losses.koleo(x) < 5


@pytest.mark.parametrize("kind", ["none", "one", "two", "equal", "zero"])
def test_koleo_is_finite_with_degenerate_rows(kind):
    rows = {"none": draw(0, 4), "one": draw(1, 4), "two": draw(2, 4), "equal": torch.ones(4, 4)}
    x = rows.get(kind, torch.zeros(4, 4)).float().requires_grad_()
    loss = losses.koleo(x)
    loss.backward()
    assert loss.isfinite()
    assert x.grad.isfinite().all()
    assert (loss == 0) == (kind in ("none", "one"))


def test_gradients_are_those_of_the_values():
    scores, targets = [draw(3, 4, seed=s).requires_grad_() for s in range(3)], [draw(3, 4, seed=7).softmax(1)]
    assert torch.autograd.gradcheck(lambda *s: losses.swapped_cross_entropy(s, targets, 0.3), scores)
    mask = torch.tensor([[True, True, False], [False, True, False]])
    assert torch.autograd.gradcheck(lambda s: losses.masked_cross_entropy(s, targets[0], mask, 0.3), scores[0])
    assert torch.autograd.gradcheck(losses.koleo, draw(5, 3).requires_grad_())


def test_targets_carry_no_gradient():
    scores = draw(3, 4).requires_grad_()
    center = torch.zeros(4, dtype=torch.float64)
    made = [
        losses.sinkhorn_knopp(scores, 0.1),
        losses.centered_softmax(scores, center, 0.1),
        losses.update_center(center, scores),
        losses.entropy(scores.softmax(1)),
    ]
    assert not any(t.requires_grad for t in made)


def test_entropy_is_that_of_rows():
    assert math.isclose(losses.entropy(torch.full((3, 4), 0.25)), math.log(4), rel_tol=1e-6)
    assert losses.entropy(torch.eye(4)) == 0
    assert losses.entropy(torch.zeros(0, 4)) == 0


def test_half_precision_is_computed_in_fp32():
    scores = [torch.nn.functional.normalize(draw(32, 16, seed=s), dim=1) for s in range(2)]
    half = [s.bfloat16() for s in scores]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        targets = [losses.sinkhorn_knopp(s, 0.5) for s in half]
        found = losses.swapped_cross_entropy(half, targets, 0.1), losses.koleo(half[0])
    exact = losses.swapped_cross_entropy(scores, [losses.sinkhorn_knopp(s, 0.5) for s in scores], 0.1)
    assert [f.dtype for f in found] == [torch.float32] * 2
    assert math.isclose(found[0], exact, rel_tol=0.01)
    assert math.isclose(found[1], losses.koleo(scores[0]), rel_tol=0.05)
