"""Negatives besides those of the batch: each composes with each loss, and is what a plain loop says."""

import pytest
import torch

from sensorium import losses
from sensorium.losses import NO_ID, Guide, MixedNegatives, NegativeRows, NegativeWeighting, mix_negatives
from sensorium.losses.engine import LOG_ZERO, Embeddings
from tests.core.losses.references import cosine, hard_weights

TILE = "sensorium.losses.engine.streamed.CPU_TILE"
IDS = torch.arange(5)
KEPT_IDS = torch.tensor([3, NO_ID, 0, 0, 9, NO_ID, 2])
OPTIONS = [(0.0, 1.0, 0.0), (0.5, 1.0, 0.0), (0.0, 1.0, 0.02), (0.7, 0.4, 0.02), (0.5, 0.0, 0.0)]
"""beta, alpha, prior"""


def rows(n=5, d=4, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cost(own, negatives, hardness, scale):
    """One row's cross-entropy, from the papers: weights that sum to n, a discount for the prior, and its floor."""
    n = len(negatives)
    hard = (hard_weights(negatives, hardness.beta) * negatives.exp()).sum()
    if hardness.prior:
        hard = (hard - hardness.prior * n * own.exp()) / (1 - hardness.prior)
        hard = torch.clamp(hard, min=n * float(torch.exp(torch.as_tensor(-scale))))
    return (hardness.alpha * own.exp() + hard).log() - own


def looped(anchors, positives, others, extra_negatives, hardness, scale):
    """Every anchor against the other rows, and those further rows that are not its own."""
    each = []
    for i, (a, p) in enumerate(zip(anchors, positives, strict=True)):
        negatives = [scale * cosine(a, o) for j, o in enumerate(others) if j % len(IDS) != i % len(IDS)]
        negatives += [scale * cosine(a, r) for r, id in extra_negatives if id != i % len(IDS)]
        each.append(cost(scale * cosine(a, p), torch.stack(negatives), hardness, scale))
    return torch.stack(each).mean()


@pytest.mark.parametrize("tile", [64, 3])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_memory_on_both_sides_joins_the_batch(options, tile, monkeypatch):
    monkeypatch.setattr(TILE, tile)
    x, y, kept, scale = rows(), rows(seed=1), rows(7, seed=2), 3.0
    beta, alpha, prior = options
    memory = zip(kept, KEPT_IDS.tolist(), strict=True)
    memory = list(memory)
    expected = looped(x, y, y, memory, NegativeWeighting(*options), scale) + looped(
        y, x, x, memory, NegativeWeighting(*options), scale
    )
    extra_negatives = [NegativeRows(kept, KEPT_IDS)]
    found = losses.hn_nce(
        x, y, scale, alpha, beta, IDS, prior=prior, extra_negatives_x=extra_negatives, extra_negatives_y=extra_negatives
    )
    assert torch.allclose(found, expected / 2, rtol=1e-10)
    everything = [NegativeRows(kept)]  # a mutant that forgets whose rows they are
    wrong = losses.hn_nce(
        x, y, scale, alpha, beta, IDS, prior=prior, extra_negatives_x=everything, extra_negatives_y=everything
    )
    assert not torch.allclose(wrong, found, rtol=1e-3)


@pytest.mark.parametrize("options", OPTIONS)
def test_nt_xent_with_a_memory(options):
    x, y, kept, scale = rows(), rows(seed=1), rows(7, seed=2), 2.0
    beta, alpha, prior = options
    z, positives = torch.cat([x, y]), torch.cat([y, x])
    memory = list(zip(kept, KEPT_IDS.tolist(), strict=True))
    found = losses.hcl(x, y, 1 / scale, beta, prior, alpha, IDS, extra_negatives=[NegativeRows(kept, KEPT_IDS)])
    assert torch.allclose(found, looped(z, positives, z, memory, NegativeWeighting(*options), scale), rtol=1e-10)


@pytest.mark.parametrize("options", OPTIONS)
def test_queue_contrast_weighs_like_the_others(options):
    q, k, kept = rows(), rows(seed=1), rows(7, seed=2)
    beta, alpha, prior = options
    memory = list(zip(kept, KEPT_IDS.tolist(), strict=True))
    found = losses.queue_info_nce(q, k, [NegativeRows(kept, KEPT_IDS)], 0.5, beta, prior, alpha, IDS)
    assert torch.allclose(found, looped(q, k, [], memory, NegativeWeighting(*options), 2.0), rtol=1e-10)


def test_siglip_has_extra_negatives_too():
    x, y, kept = rows(), rows(seed=1), rows(7, seed=2)
    scale, bias = torch.tensor(3.0).double(), torch.tensor(-1.0).double()
    extra = sum(
        (1 + (scale * cosine(a, r) + bias).exp()).log()
        for side in (x, y)
        for i, a in enumerate(side)
        for r, id in zip(kept, KEPT_IDS.tolist(), strict=True)
        if id != i
    )
    extra_negatives = [NegativeRows(kept, KEPT_IDS)]
    found = losses.siglip(x, y, scale, bias, IDS, extra_negatives, extra_negatives)
    assert torch.allclose(found, losses.siglip(x, y, scale, bias, IDS) + extra / 5, rtol=1e-10)


def test_gradient_flows_into_rows_of_a_rank_and_not_into_shared_ones():
    x, y, more = (t.requires_grad_() for t in (rows(), rows(seed=1), rows(3, seed=2)))
    knob = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)

    def loss(x, y, more, knob):
        return losses.hn_nce(x, y, knob, beta=0.5, extra_negatives_x=[NegativeRows(more, shared=False)])

    assert torch.autograd.gradcheck(loss, (x, y, more, knob))
    assert torch.autograd.grad(loss(x, y, more, knob), more)[0].abs().max() > 0
    assert torch.autograd.grad(
        losses.hn_nce(x, y, knob, extra_negatives_x=[NegativeRows(more)]), more, allow_unused=True
    ) == (None,)


def test_corrupted_captions_are_extra_keys_of_images():
    """Corrupted captions are negatives of images alone (NegCLIP)."""
    x, y, wrong = rows(), rows(seed=1), rows(5, seed=2)
    found = losses.hn_nce(x, y, 4.0, beta=0.0, extra_negatives_x=[NegativeRows(wrong, shared=False)])
    rows_loss = losses.info_nce(x, torch.cat([y, wrong]), 1 / 4.0, IDS)
    columns_loss = losses.info_nce(y, x, 1 / 4.0, IDS)
    assert torch.allclose(found, (rows_loss + columns_loss) / 2, rtol=1e-12)


def test_mixtures_are_of_the_hardest_on_the_sphere_and_never_of_the_anchors_record():
    torch.manual_seed(0)
    x, kept = rows(), rows(7, seed=2)
    made = mix_negatives(x, IDS, NegativeRows(kept, KEPT_IDS), hardest=3, pairs=40, with_anchor=20)
    assert made.rows_NSD.shape == (5, 60, 4)
    assert torch.allclose(made.rows_NSD.norm(dim=2), torch.ones(5, 60).double())
    assert made.valid_NS.all()
    for i in range(5):
        allowed = [k for k in range(7) if KEPT_IDS[k] != i]
        hardest = sorted(allowed, key=lambda k: -float(cosine(x[i], kept[k])))[:3]
        basis = torch.stack([kept[k] / kept[k].norm() for k in hardest])
        for s in range(40):  # on an arc between two of the three: coordinates >= 0, one of them 0
            weights = torch.linalg.lstsq(basis.T, made.rows_NSD[i, s]).solution
            assert weights.min() > -1e-9
            assert (weights.abs() < 1e-9).sum() >= 1
        for s in range(40, 60):
            unit_x = x[i] / x[i].norm()
            found = torch.linalg.lstsq(torch.cat([basis, unit_x[None]]).T, made.rows_NSD[i, s]).solution
            assert found.isfinite().all()
            assert cosine(made.rows_NSD[i, s], x[i]) >= max(float(cosine(x[i], b)) for b in basis[-1:]) - 1e-9


def test_mixtures_of_the_anchors_record_are_masked_out():
    x, own = rows(), torch.zeros(3, dtype=torch.int64)
    made = mix_negatives(x, IDS, NegativeRows(rows(3, seed=3), own), hardest=3, pairs=2, with_anchor=2)
    assert not made.valid_NS[0].any()
    assert made.valid_NS[1:].all()
    side = Embeddings(x / x.norm(dim=1, keepdim=True), IDS)
    sums = made.log_sum_exp(side, 5.0, (1.0, 0.0))
    assert (sums[0] < LOG_ZERO / 2).all()
    assert torch.allclose(sums[1:, 1], torch.tensor(4.0).double().log())
    assert made.softplus_sums(side, 5.0, 0.0)[0] == 0


def test_mixtures_join_as_negatives_of_one_row():
    x, y = rows(), rows(seed=1)
    made = MixedNegatives(torch.nn.functional.normalize(rows(10, seed=4), dim=1).view(5, 2, 4), torch.ones(5, 2).bool())
    found = losses.hn_nce(x, y, 3.0, beta=0.0, extra_negatives_x=[made])
    each = []
    for i in range(5):
        logits = [3 * cosine(x[i], y[j]) for j in range(5)] + [3 * cosine(x[i], made.rows_NSD[i, s]) for s in (0, 1)]
        each.append(torch.stack(logits).logsumexp(0) - logits[i])
    expected = (torch.stack(each).mean() + losses.info_nce(y, x, 1 / 3)) / 2
    assert torch.allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("kind", ["equal", "zero", "one"])
@pytest.mark.parametrize("tile", [64, 3])
def test_everything_together_stays_finite(kind, tile, monkeypatch):
    monkeypatch.setattr(TILE, tile)
    x = {"equal": torch.ones(8, 4), "zero": torch.zeros(8, 4), "one": torch.randn(1, 4)}[kind].requires_grad_()
    ids = torch.zeros(len(x), dtype=torch.int64)  # every row of the batch, and of the memory, is of one record
    kept = NegativeRows(torch.ones(6, 4), torch.zeros(6, dtype=torch.int64))
    extra_negatives = [kept, mix_negatives(x, ids, kept, 4, 2, 1)]
    for temperature in (0.01, 1.0):
        for beta, alpha, prior in [*OPTIONS, (2.0, 1.0, 0.9)]:
            loss = losses.hn_nce(
                x, x, 1 / temperature, alpha, beta, ids, Guide(x, x), prior, extra_negatives, extra_negatives
            )
            loss = loss + losses.hcl(x, x, temperature, beta, prior, alpha, ids, Guide(x, x), extra_negatives=[kept])
            (gradient,) = torch.autograd.grad(loss, x)
            assert loss.isfinite()
            assert gradient.isfinite().all()
