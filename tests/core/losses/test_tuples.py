"""Volume, area and multilinear products of several modalities, against plain loops in double precision."""

from itertools import permutations

import pytest
import torch
import torch.nn.functional as F

from sensorium.errors import SensoriumError
from sensorium.losses import clip, gram_volume, symile, triangle_area, tuples, volume_contrast
from tests.core.losses.references import clip as clip_by_loops
from tests.distributed.ranks import on_ranks

SCALE = torch.tensor(3.0, dtype=torch.float64)


def rows(k=3, n=5, d=4, seed=0, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=rng, dtype=dtype) for _ in range(k)]


def volume(vectors):
    """Cicchetti et al. 2024: the square root of the determinant of the Gram matrix."""
    unit = F.normalize(torch.stack(vectors), dim=1)
    return (torch.linalg.det(unit @ unit.T).clamp(min=0) + 1e-8).sqrt()


def area(vectors):
    """Cicchetti et al. 2025: half the root of |u|^2 |v|^2 - (u v)^2."""
    a, b, c = F.normalize(torch.stack(vectors), dim=1)
    u, v = a - b, a - c
    return (u.dot(u) * v.dot(v) - u.dot(v) ** 2 + 1e-8).sqrt() / 2


def contrast_by_loops(z, scale, span=volume, cosine=1.0, anchors=None):
    """Every anchor over whole tuples of others, and every tuple over anchors."""
    n, each = len(z[0]), []
    for anchor in range(len(z)) if anchors is None else anchors:
        others = [x for number, x in enumerate(z) if number != anchor]

        def logit(i, j, a=z[anchor], others=others):
            mean = torch.stack([F.cosine_similarity(a[i], y[j], dim=0) for y in others]).mean()
            return scale * (cosine * mean - span([a[i], *(y[j] for y in others)]))

        for i in range(n):
            each.append(torch.stack([logit(i, j) for j in range(n)]).logsumexp(0) - logit(i, i))
            each.append(torch.stack([logit(j, i) for j in range(n)]).logsumexp(0) - logit(i, i))
    return torch.stack(each).mean()


def symile_by_loops(z, scale, squared=False):
    n, d, k, each = len(z[0]), z[0].shape[1], len(z), []
    z = [F.normalize(x, dim=1) for x in z]
    factor = scale * d ** ((k - 2) / 2)
    for anchor in range(k):
        others = [x for number, x in enumerate(z) if number != anchor]
        for i in range(n):
            positive = factor * (z[anchor][i] * torch.stack([y[i] for y in others]).prod(0)).sum()
            negatives = []
            for step in range(n) if squared and k > 2 else [1]:
                for j in range(n):
                    of = [(j + step * o) % n for o in range(k - 1)]
                    if set(of) != {i}:
                        one = torch.stack([y[r] for y, r in zip(others, of, strict=True)]).prod(0)
                        negatives.append(factor * (z[anchor][i] * one).sum())
            each.append(torch.stack([positive, *negatives]).logsumexp(0) - positive)
    return torch.stack(each).mean()


LOSSES = {
    "gram": (volume_contrast, contrast_by_loops),
    "gram without cosines": (
        lambda z, s: volume_contrast(z, s, cosine=0.0),
        lambda z, s: contrast_by_loops(z, s, cosine=0.0),
    ),
    "triangle": (lambda z, s: volume_contrast(z, s, "triangle"), lambda z, s: contrast_by_loops(z, s, area)),
    "symile": (symile, symile_by_loops),
    "symile n^2": (lambda z, s: symile(z, s, "n^2"), lambda z, s: symile_by_loops(z, s, True)),
}
every = pytest.mark.parametrize("name", LOSSES)
MODALITIES = [(name, k) for name in LOSSES for k in ((3,) if name == "triangle" else (2, 3, 4))]


def gradients(loss, z, scale):
    z, scale = [x.clone().requires_grad_() for x in z], scale.clone().requires_grad_()
    value = loss(z, scale)
    return value.detach(), torch.autograd.grad(value, [*z, scale])


@pytest.mark.parametrize(("name", "k"), MODALITIES)
def test_is_the_papers(name, k):
    ours, theirs = LOSSES[name]
    (found, grads), (right, right_grads) = gradients(ours, rows(k), SCALE), gradients(theirs, rows(k), SCALE)
    torch.testing.assert_close(found, right, rtol=1e-9, atol=0)
    for one, other in zip(grads, right_grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


@every
def test_gradients_are_those_of_the_value(name):
    z = [x.requires_grad_() for x in rows(n=4)]
    assert torch.autograd.gradcheck(lambda s, *z: LOSSES[name][0](z, s), (SCALE.clone().requires_grad_(), *z))


@every
def test_blocks_that_are_computed_again_change_nothing(name, monkeypatch):
    whole = gradients(LOSSES[name][0], rows(n=7), SCALE)
    monkeypatch.setattr(tuples, "PAIRS", 15)
    torch.testing.assert_close(gradients(LOSSES[name][0], rows(n=7), SCALE), whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_the_volume_is_the_root_of_a_determinant(k):
    z = rows(k, d=6)
    for i, found in enumerate(gram_volume(z)):
        torch.testing.assert_close(found, volume([x[i] for x in z]), rtol=1e-7, atol=1e-9)
    a, b, c = rows()
    for i, found in enumerate(triangle_area([a, b, c])):
        torch.testing.assert_close(found, area([a[i], b[i], c[i]]), rtol=1e-7, atol=1e-9)
    assert torch.allclose(gram_volume([torch.eye(3)[:1], torch.eye(3)[1:2], torch.eye(3)[2:]]), torch.ones(1))


@pytest.mark.parametrize("negatives", ["n", "n^2"])
def test_symile_of_two_modalities_is_clip(negatives):
    x, y = rows(2)
    torch.testing.assert_close(symile([x, y], SCALE, negatives), clip(x, y, SCALE), rtol=1e-10, atol=0)
    torch.testing.assert_close(symile([x, y], SCALE, negatives), clip_by_loops(x, y, SCALE), rtol=1e-10, atol=0)


@every
@pytest.mark.parametrize("k", [2, 3, 4])
def test_separable_records_have_no_loss_and_others_have(name, k):
    """The positive is a record's own tuple: one unit vector for each record, the same in all modalities."""
    if name == "triangle" and k != 3:
        return
    z, loss = [torch.eye(6, dtype=torch.float64)] * k, LOSSES[name][0]
    wrong = [z[0], *(x.roll(1, 0) for x in z[1:])]
    if name == "gram without cosines" and k > 2:
        assert loss(z, 50.0) > 1.0  # others that coincide have no volume with any anchor: the hole of the papers
    else:
        assert loss(z, 50.0) < 1e-6 < 1.5 < loss(wrong, 50.0)


@pytest.mark.parametrize("measure", ["gram", "triangle"])
def test_signs_and_others_that_coincide_are_seen_with_cosines_alone(measure):
    u, v = rows(2, d=6)
    aligned, opposite = [u, u, u], [u, -u, u]

    def gap(cosine):
        return volume_contrast(opposite, 10.0, measure, cosine) - volume_contrast(aligned, 10.0, measure, cosine)

    assert gap(1.0) > 0.5
    assert gap(0.0) < 1e-6  # nothing is lost by opposite signs
    for cosine, moves in ((1.0, True), (0.0, False)):  # two modalities coincide, and the third is anywhere
        v.grad = None
        volume_contrast([v.requires_grad_(), u, u], 10.0, measure, cosine, anchors=[0]).backward()
        assert (v.grad.norm() > 1e-2) == moves


@every
@pytest.mark.parametrize("kind", ["identical", "antipodal", "one row", "no row", "zero", "one of two rows equal"])
def test_degenerate_rows_stay_finite(name, kind):
    x = rows(1, n={"one row": 1, "no row": 0}.get(kind, 4), dtype=torch.float32)[0]
    z = {
        "identical": [x, x.clone(), x.clone()],
        "antipodal": [x, -x, x.clone()],
        "zero": [x, 0 * x, x + 1],
        "one of two rows equal": [x, torch.cat([x[:2], x[:2]]), x.roll(1, 0)],
    }.get(kind, [x, x + 1, x - 1])
    for scale in (1.0, 100.0):
        value, grads = gradients(LOSSES[name][0], z, torch.tensor(scale))
        assert value.isfinite()
        assert all(g.isfinite().all() for g in grads)
        assert (kind not in ("one row", "no row")) or value == 0


@every
def test_half_precision_is_computed_in_fp32(name):
    z = [x.bfloat16() for x in rows(n=16, d=8)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = LOSSES[name][0](z, 10.0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), LOSSES[name][0]([x.double() for x in z], 10.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["gram", "triangle"])
def test_no_order_of_records_or_modalities_matters(name):
    z, loss = rows(), LOSSES[name][0]
    whole = loss(z, SCALE)
    for order in permutations(range(3)):
        torch.testing.assert_close(loss([z[i] for i in order], SCALE), whole, rtol=1e-10, atol=0)
    torch.testing.assert_close(loss([x.flip(0) for x in z], SCALE), whole, rtol=1e-10, atol=0)
    torch.testing.assert_close(symile(z[::-1], SCALE, "n^2"), symile(z, SCALE, "n^2"), rtol=1e-10, atol=0)


def test_chosen_anchors_alone():
    z = rows()
    right = contrast_by_loops(z, SCALE, anchors=[1])
    torch.testing.assert_close(volume_contrast(z, SCALE, anchors=[1]), right, rtol=1e-9, atol=0)
    each = torch.stack([symile(z, SCALE, anchors=[a]) for a in range(3)])
    torch.testing.assert_close(each.mean(), symile(z, SCALE), rtol=1e-10, atol=0)
    assert each.std() > 1e-3


def test_products_keep_their_size_at_any_width():
    """Random unit triples have a standard deviation of 1 / D without the power of D, and of 1 / sqrt(D) with it."""
    for d in (64, 512):
        a, b, c = (F.normalize(x, dim=1) for x in rows(3, n=2000, d=d))
        assert (d**0.5 * (a * b * c).sum(1)).std() * d**0.5 == pytest.approx(1.0, rel=0.1)


def test_what_is_no_tuple_is_refused():
    with pytest.raises(SensoriumError, match="2 or more modalities of each record, and was given 1"):
        volume_contrast(rows(1), 1.0)
    with pytest.raises(SensoriumError, match="contrasts 3 modalities of each record, and was given 4"):
        volume_contrast(rows(4), 1.0, "triangle")
    with pytest.raises(SensoriumError, match="one shape"):
        symile([*rows(2), torch.zeros(4, 4)], 1.0)
    with pytest.raises(SensoriumError, match="above 0"):
        symile(rows(), 0.0)
    with pytest.raises(SensoriumError, match="measure='grm', did you mean 'gram'"):
        volume_contrast(rows(), 1.0, "grm")
    with pytest.raises(SensoriumError, match=r"negatives='n3'.* one of n, n\^2"):
        symile(rows(), 1.0, "n3")
    for anchors in ([], [5], [-1]):
        for loss in (volume_contrast, symile):
            with pytest.raises(SensoriumError, match=r"and there are 3 modalities: name one or more by their indices"):
                loss(rows(), 1.0, anchors=anchors)


CUTS = {2: (0, 3, 5), 3: (0, 0, 4, 5)}


def one_rank(rank, world):
    part = slice(CUTS[world][rank], CUTS[world][rank + 1])
    return {(name, k): gradients(LOSSES[name][0], [x[part] for x in rows(k)], SCALE) for name, k in MODALITIES}


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_are_one_process(world, tmp_path):
    ranks = on_ranks(world, one_rank, tmp_path)
    for case in ranks[0]:
        whole, whole_grads = gradients(LOSSES[case[0]][0], rows(case[1]), SCALE)
        torch.testing.assert_close(sum(r[case][0] for r in ranks) / world, whole, rtol=1e-9, atol=0)
        for number, gradient in enumerate(whole_grads):
            parts = [r[case][1][number] for r in ranks]
            joined = sum(parts) / world if gradient.ndim == 0 else torch.cat(parts) / world
            torch.testing.assert_close(joined, gradient, rtol=1e-7, atol=1e-11)
