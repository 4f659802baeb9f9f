"""The dense and the streamed form agree: in value, in every gradient, at sizes that no tile divides."""

import pytest
import torch

from sensorium import losses
from sensorium.losses.engine import LOG_ZERO, Embeddings, dense_sums, log_sum_exp, streamed_sums
from sensorium.losses.engine.kernels import LogSumExp, Softplus
from sensorium.losses.hardness import Guide
from sensorium.losses.unit_vectors import normalize_rows

TILE = "sensorium.losses.engine.streamed.CPU_TILE"
LABELS = torch.arange(23) % 5


def rows(n=23, d=6, dtype=torch.float64, seed=0):
    """Pairs that are near each other."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=rng, dtype=torch.float64)
    return x.to(dtype), (x + torch.randn(n, d, generator=rng, dtype=torch.float64)).to(dtype)


def guide():
    return Guide(*rows(d=3, seed=1), margin=0.1)


LOSSES = {
    "clip": lambda x, y, s: losses.clip(x, y, s),
    "nt_xent": lambda x, y, s: losses.nt_xent(x, y, 1 / s),
    "info_nce": lambda x, y, s: losses.info_nce(x, y, 1 / s),
    "info_nce, more keys": lambda x, y, s: losses.info_nce(x[:9], y, 1 / s, torch.arange(9) * 2),
    "supervised_contrastive": lambda x, y, s: losses.supervised_contrastive(x + 0 * y, LABELS, 1 / s),
    "debiased": lambda x, y, s: losses.debiased(x, y, 1 / s, prior=0.01),
    "hcl": lambda x, y, s: losses.hcl(x, y, 1 / s, beta=2.0, prior=0.01),
    "hn_nce": lambda x, y, s: losses.hn_nce(x, y, s, alpha=0.5, beta=0.5),
    "hn_nce decoupled": lambda x, y, s: losses.hn_nce(x, y, s, alpha=0.0, beta=0.5),
    "hn_nce masked": lambda x, y, s: losses.hn_nce(x, y, s, beta=0.5, groups_B=LABELS, guide=guide()),
    "siglip": lambda x, y, s: losses.siglip(x, y, s, s - 20),
    "siglip groups": lambda x, y, s: losses.siglip(x, y, s, -s, LABELS),
}


def run(name, scale, dtype=torch.float64, autocast=False):
    x, y = (t.requires_grad_() for t in rows(dtype=dtype))
    knob = torch.tensor(scale, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss = LOSSES[name](x, y, knob)
    loss.backward()
    return [loss.detach(), x.grad, y.grad, knob.grad]


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
@pytest.mark.parametrize("name", LOSSES)
def test_forms_agree_in_fp64(name, scale, monkeypatch):
    dense = run(name, scale)
    assert dense[1].abs().max() > 0
    for tile in (5, 22):
        monkeypatch.setattr(TILE, tile)
        for found, expected in zip(run(name, scale), dense, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12 * max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize("name", LOSSES)
def test_forms_agree_in_fp32(name, monkeypatch):
    dense = run(name, 5.0, torch.float32)
    monkeypatch.setattr(TILE, 7)
    for found, expected in zip(run(name, 5.0, torch.float32), dense, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize("name", ["clip", "nt_xent", "hn_nce", "siglip"])
def test_streamed_is_as_near_to_the_truth_as_dense_at_the_lowest_temperature(name, monkeypatch):
    truth, dense = run(name, 100.0), run(name, 100.0, torch.float32)
    monkeypatch.setattr(TILE, 5)
    streamed = run(name, 100.0, torch.float32)
    for exact, one, other in zip(truth, dense, streamed, strict=True):
        size = exact.abs().max()
        assert (other - exact).abs().max() <= 3 * (one - exact).abs().max() + 1e-6 * size
        assert (other - exact).abs().max() < 1e-4 * size


@pytest.mark.parametrize("name", LOSSES)
def test_streamed_gradients_are_those_of_the_value(name, monkeypatch):
    monkeypatch.setattr(TILE, 8)
    knob = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    x, y = (t.requires_grad_() for t in rows())
    assert torch.autograd.gradcheck(LOSSES[name], (x, y, knob), fast_mode=True)


def saved_bytes(name, n, d=6):
    """Return how many bytes of distinct memory autograd keeps for the backward of a loss of n pairs."""
    kept = {}
    x, y = (t.requires_grad_() for t in rows(n, d, dtype=torch.float32))
    knob = torch.tensor(14.0, requires_grad=True)

    def keep(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        loss = LOSSES[name](x, y, knob)
    loss.backward()
    return sum(kept.values())


@pytest.mark.parametrize("name", ["clip", "nt_xent", "info_nce", "debiased", "hcl", "hn_nce", "siglip"])
def test_what_is_saved_grows_with_rows_not_with_pairs(name, monkeypatch):
    def growth(first, second):
        return saved_bytes(name, second) / saved_bytes(name, first)

    monkeypatch.setattr(TILE, 4096)
    assert growth(100, 400) > 8  # dense: the matrix
    monkeypatch.setattr(TILE, 32)
    assert growth(100, 400) < 4.2


@pytest.mark.parametrize("name", ["clip", "nt_xent", "info_nce", "debiased", "hcl", "hn_nce", "siglip"])
def test_of_the_size_of_rows_only_unit_rows_are_saved(name, monkeypatch):
    n, d = 100, 1000
    monkeypatch.setattr(TILE, 32)
    assert 2.0 <= saved_bytes(name, n, d) / (4 * n * d) < 2.1


@pytest.mark.parametrize("own", [[0, 0, 3, 1, 3], [4, 3, 2, 1, 0]], ids=["shared", "turned"])
@pytest.mark.parametrize("itself", [False, True])
def test_positive_logits_are_those_of_the_positive_index(own, itself, monkeypatch):
    monkeypatch.setattr(TILE, 2)
    monkeypatch.setattr("sensorium.losses.unit_vectors.CHUNK", 2)
    positive_N, weights_N = torch.tensor(own), torch.arange(1.0, 6.0, dtype=torch.float64)

    def gradients(logits_of):
        x, y = (t.requires_grad_() for t in rows(5))
        scale, bias = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (3.0, -2.0))
        logits_N = logits_of(x, x if itself else y, scale, bias)
        made = torch.autograd.grad((weights_N * logits_N).sum(), (x, y, scale, bias), allow_unused=True)
        return [logits_N, *(g for g in made if g is not None)]

    def by_engine(x, y, scale, bias, form=streamed_sums, positive_N=positive_N):
        one = Embeddings(x, torch.arange(5))
        other = one if itself else Embeddings(y, torch.arange(5))
        return form(Softplus(), one, other, [5], scale, bias, False, positive_N).positive

    def plainly(x, y, scale, bias):
        cosine = torch.nn.functional.cosine_similarity
        return torch.stack([scale * cosine(x[n], y[m], dim=0) + bias for n, m in enumerate(own)])

    expected = gradients(plainly)
    for form in (streamed_sums, dense_sums):
        torch.testing.assert_close(gradients(lambda *given, form=form: by_engine(*given, form)), expected)
    with pytest.raises(AssertionError):  # a mutant: the rows next to them
        torch.testing.assert_close(
            gradients(lambda *given: by_engine(*given, positive_N=(positive_N + 1) % 5)), expected
        )


def test_a_row_whose_pairs_are_all_left_out_has_no_sum_and_no_gradient(monkeypatch):
    x, y = (normalize_rows(t) for t in rows())
    ids = torch.arange(23)
    ids[3] = -1
    for tile in (64, 4):
        monkeypatch.setattr(TILE, tile)
        for scale in (1.0, 100.0, 1e4):  # the last is past what one exponential can span
            leaf = x.clone().requires_grad_()
            sums = log_sum_exp(
                Embeddings(leaf, torch.full((23,), -1)), Embeddings(y, torch.full((23,), -1)), [23], scale
            ).rows
            assert (sums < LOG_ZERO / 2).all()
            sums.sum().backward()
            assert (leaf.grad == 0).all()
            # One row alone: the columns see everything else.
            rows_N1, columns_N1, _ = log_sum_exp(
                Embeddings(x, ids), Embeddings(y, ids * 0 - 1), [23], scale, columns=True
            )
            assert ((rows_N1[:, 0] < LOG_ZERO / 2) == (ids == -1)).all()
            assert columns_N1.isfinite().all()
            assert (columns_N1 > LOG_ZERO / 2).all()


def test_the_sum_of_tilt_zero_counts_pairs(monkeypatch):
    x, y = (normalize_rows(t) for t in rows())
    ids = torch.arange(23) % 4
    for tile in (64, 5):
        monkeypatch.setattr(TILE, tile)
        counts = log_sum_exp(Embeddings(x, ids), Embeddings(y, ids), [23], 7.0, (1.5, 0.5, 0.0), columns=True)
        expected = 23.0 - (ids[:, None] == ids).sum(1)
        for side in (counts.rows, counts.columns):
            assert torch.allclose(side[:, 2].exp(), expected.double())


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_changes_nothing(name, monkeypatch):
    for tile in (64, 5):
        monkeypatch.setattr(TILE, tile)
        plain, cast = run(name, 20.0, torch.float32), run(name, 20.0, torch.float32, autocast=True)
        assert all(torch.equal(a, b) for a, b in zip(plain, cast, strict=True))


@pytest.mark.parametrize("kernel", [LogSumExp((1.0,), bound=10.0), LogSumExp((1.0,), bound=1e3), Softplus()])
def test_a_gradient_without_its_columns_is_caught(kernel):
    """A mutant: a kernel that forgets a direction, or the gradient that comes in, disagrees with the dense form."""
    x, y = (normalize_rows(t) for t in rows())
    columns = isinstance(kernel, LogSumExp)
    ids, none = torch.arange(23), None

    def gradient(form):
        leaf = x.clone().requires_grad_()
        sums = form(
            kernel, Embeddings(leaf, ids), Embeddings(y, ids), [23], torch.tensor(10.0, dtype=x.dtype), none, columns
        )
        weight = torch.linspace(1, 2, 23, dtype=x.dtype)[:, None]
        sum((weight * s).sum() for s in sums).backward()
        return leaf.grad

    exact, right = gradient(dense_sums), gradient(streamed_sums)
    assert torch.allclose(right, exact, rtol=1e-10)
    logit_grad = kernel.logit_grad
    if columns:
        kernel.logit_grad = lambda logits, excluded, rows, columns: logit_grad(logits, excluded, rows, None)
    else:
        kernel.logit_grad = lambda logits, excluded, rows, columns: logit_grad(
            logits, excluded, rows._replace(grads=rows.grads * 0 + 1), columns
        )
    assert not torch.allclose(gradient(streamed_sums), exact, rtol=1e-2)


@pytest.mark.parametrize("name", ["clip", "hcl", "hn_nce", "siglip"])
def test_the_dense_form_is_one_graph(name):
    """Nothing is asked of the device: the whole loss compiles without a break."""
    x, y = rows(dtype=torch.float32)
    knob = torch.tensor(5.0)
    compiled = torch.compile(LOSSES[name], fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, y, knob), LOSSES[name](x, y, knob))
