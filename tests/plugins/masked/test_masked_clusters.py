"""Masked prediction of clusters: random projections, k-means, online clusters."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from sensorium import Features, Learner, TrainingSize, losses
from sensorium.errors import RecipeError, SensoriumError
from sensorium.models.learner import _Encode
from sensorium.plugins.masked.k_means import KMeans, k_means, nearest, sample_rows
from sensorium.plugins.masked.masked_clusters import MaskedClusters
from sensorium.plugins.masked.masked_prediction import Predictor
from sensorium.plugins.masked.online_clusters import Online
from sensorium.plugins.masked.random_projection import RandomProjection, RunningMoments
from sensorium.recipe.schema import Monitor
from sensorium.training.collapse_alarm import CollapseAlarm, measure
from tests.plugins.toy_token_modality import (
    CHANNELS,
    SequenceEncoder,
    Sequences,
    learner_of,
    losses_while_training,
    sequences,
    view_of,
)

PREDICTOR = Predictor(depth=1, width=16, heads=2)
KINDS = {
    "random-projection": {"random_projection": RandomProjection(codebooks=2, dim=4)},
    "k-means": {"targets": "k-means", "k_means": KMeans(dim=8)},
    "k-means of start": {"targets": "k-means", "k_means": KMeans(of="start", dim=8)},
    "online": {"targets": "online", "online": Online(bins=2)},
    "online, predictor": {"targets": "online", "online": Online(bins=2), "predictor": PREDICTOR},
    "k-means, spans": {"targets": "k-means", "mask": "spans", "mask_length": 2, "predictor": PREDICTOR},
    "random-projection, block": {"mask": "inverse-block"},
}
LENGTHS = (12, 7, 2, 1, 5)


def made(kind="random-projection", seed=0, lengths=LENGTHS * 3, clusters=4, encoder=None, **options):
    """Return a learner that has learned from a batch of sequences."""
    learner = learner_of(MaskedClusters(clusters=clusters, **KINDS[kind] | options), seed, **encoder or {})
    if learner.objective.fits:
        torch.manual_seed(1)
        learner.fit([[view_of(sequences(lengths, seed=5))]])
    return learner


def outcome_of(learner, batch=None, seed=3, **info):
    torch.manual_seed(seed)
    return learner({"toy": [view_of(sequences() if batch is None else batch, info=info)]})


def halves(batch):
    """Return a mask of every second token."""
    return (torch.arange(batch.x.shape[1]) % 2 == 0) & batch.mask


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_reaches_every_parameter_and_padding_is_ignored(kind):
    batch, found = sequences(), []
    for each in (batch, Sequences(torch.where(batch.mask[..., None], batch.x, -7e3), batch.mask)):
        learner = made(kind).train()
        outcome = outcome_of(learner, each)
        outcome.loss.backward()
        gradients = {n: p.grad for n, p in learner.named_parameters() if p.requires_grad}
        assert all(g is not None and g.isfinite().all() for g in gradients.values())
        assert any(g.abs().sum() > 0 for n, g in gradients.items() if n.startswith("encoders"))
        found.append(outcome.loss.detach())
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_steps_lower_the_loss_and_the_clusters_are_logged(kind):
    learner = made(kind, momentum=1.0)
    found = losses_while_training(learner, {"toy": [view_of(sequences(LENGTHS * 3))]}, 40, 1e-2)
    assert found[-1] < 0.8 * found[0], found
    outcome = outcome_of(learner)
    assert 1 <= outcome.logs["code_perplexity"] <= 4
    assert not any(value.requires_grad for value in outcome.logs.values())
    assert outcome.assignments["clusters"].used >= 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [(1,), (2, 1), (3, 3)])
def test_the_shortest_records_are_finite(kind, lengths):
    learner = made(kind).train()
    outcome_of(learner)  # the first batch of a training is no such one
    outcome = outcome_of(learner, sequences(lengths))
    outcome.loss.backward()
    assert outcome.loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learner.parameters() if p.requires_grad)


@pytest.mark.parametrize("kind", KINDS)
def test_visible_tokens_are_not_scored_and_masked_ones_not_seen(kind):
    """Other content of masked tokens changes targets alone; other logits of visible ones change nothing."""
    batch, seen = sequences((12, 12)), []
    masked = halves(batch)
    other = Sequences(torch.where(masked[..., None], batch.x.flip(1) + 1, batch.x), batch.mask)
    for each in (batch, other):
        learner = made(kind).eval()
        learner.objective.clusters.head.register_forward_hook(lambda _, given, out: seen.append(given[0].detach()))
        outcome_of(learner, each, masked=masked)
    torch.testing.assert_close(*seen)
    assert seen[0].shape[1] == masked.sum(1).max()
    learner = made(kind).eval()
    before = float(outcome_of(learner, batch, masked=masked).loss.detach())
    changed = Sequences(torch.where(masked[..., None], batch.x, 5 * batch.x), batch.mask)
    if kind == "random-projection":  # with the encoder blind to what changes, only targets of visible tokens do
        learner.encoders["toy"].encode_tokens = _blind(learner.encoders["toy"])
        losses_ = [float(outcome_of(learner, b, masked=masked).loss.detach()) for b in (batch, changed)]
        assert math.isclose(*losses_)
    assert math.isfinite(before)


def _blind(encoder):
    whole = type(encoder).encode_tokens

    def encode_tokens(tokens, keep=None):
        tokens.x = torch.zeros_like(tokens.x)
        return whole(encoder, tokens, keep)

    return encode_tokens


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_near(kind):
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            found.append(outcome_of(made(kind).eval()).loss)
    assert found[1].dtype == torch.float32
    torch.testing.assert_close(*found, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_learned_is_state(kind):
    learner, other = made(kind), made(kind, seed=9, lengths=(9, 9, 9))
    torch.testing.assert_close(outcome_of(learner).loss, outcome_of(learner).loss)
    assert not torch.allclose(outcome_of(other).loss, outcome_of(learner).loss, rtol=1e-3)
    fresh = learner_of(MaskedClusters(clusters=4, **KINDS[kind]), seed=7)
    fresh.load_state_dict(learner.state_dict())
    torch.testing.assert_close(outcome_of(fresh).loss, outcome_of(learner).loss, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["random-projection", "k-means"])
def test_a_loop_that_has_not_fitted_is_told_what_to_call(kind):
    learner = learner_of(MaskedClusters(**KINDS[kind]))
    with pytest.raises(SensoriumError, match=r"has learned no clusters .* call learner\.fit\(batches\)"):
        outcome_of(learner)


@pytest.mark.parametrize("kind", ["random-projection", "k-means"])
def test_class_ids_are_refused_with_what_serves_them(kind):
    with pytest.raises(RecipeError, match=r"are class ids, and so clusters already.*'simmim'"):
        made(kind, encoder={"classes": True})
    for served in ("online", "k-means of start"):
        assert outcome_of(made(served, encoder={"classes": True})).loss.isfinite()


# Random projections


def projected(x, mean, std, projection, codes):
    """Chiu et al. 2022, section 3.1, by loops: the nearest normalized code of the normalized projection."""
    found = []
    for row in (x - mean) / std:
        z = torch.stack([sum(row[p] * projection[p, e] for p in range(len(row))) for e in range(projection.shape[1])])
        distances = [(c / c.norm() - z / z.norm()).norm() for c in codes]
        found.append(min(range(len(codes)), key=lambda v: distances[v]))
    return torch.tensor(found)


def test_codes_are_those_of_the_paper_and_mutants_are_caught():
    learner = learner_of(MaskedClusters(clusters=16, random_projection=RandomProjection(2, 4)))
    shown = sequences(LENGTHS * 3, seed=5)
    shown.x = shown.x * torch.tensor([1.0, 9.0, 1.0]) + torch.tensor([3.0, 0.0, 0.0])
    learner.fit([[view_of(shown)]])
    clusters, x = learner.double().objective.clusters, shown.x[shown.mask].double()
    mean, std = x.mean(0), x.std(0, correction=0)
    given = x[:50] + torch.randn(50, CHANNELS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for g in range(2):
        arguments = clusters.projection[g], clusters.codes[g]
        right = projected(given, mean, std, *arguments)
        assert torch.equal(clusters.codes_of(given[None])[0, :, g], right)
        for wrong in (
            projected(given, 0 * mean, std, *arguments),
            projected(given, mean, 0 * std + 1, *arguments),
            projected(given, mean, std, arguments[0], arguments[1].roll(1, 0)),
            clusters.codes_of(given[None])[0, :, 1 - g],
        ):
            assert (wrong == right).double().mean() < 0.9


def test_the_loss_is_the_mean_cross_entropy_over_masked_tokens_and_codebooks():
    learner = made(clusters=8).eval()
    batch = sequences((6, 4))
    masked, clusters = halves(batch), learner.objective.clusters
    logits = []
    clusters.head.register_forward_hook(lambda _, given, out: logits.append(out.detach()))
    indices = []
    forward = clusters.forward
    clusters.forward = lambda p, *rest: indices.append((p.index_BM, p.mask_BM)) or forward(p, *rest)
    loss = outcome_of(learner, batch, masked=masked).loss
    (index, mask), codes = indices[0], clusters.codes_of(batch.x)
    each = []
    for b in range(2):
        for m in range(index.shape[1]):
            if mask[b, m]:
                for g in range(2):
                    scores = logits[0][b, m, 8 * g : 8 * g + 8].double()
                    each.append(scores.exp().sum().log() - scores[codes[b, index[b, m], g]])
    assert len(each) == 2 * masked.sum()
    torch.testing.assert_close(loss.double(), torch.stack(each).mean(), rtol=1e-5, atol=1e-6)


def test_statistics_are_those_of_all_rows_whatever_the_batches():
    x = 1000 + torch.randn(40, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10.0, 0.0])
    for sizes in ((40,), (1, 0, 30, 9)):
        moments = RunningMoments()
        for part in x.split(list(sizes)):
            moments.add(part)
        mean, std = moments.read()
        torch.testing.assert_close(mean, x.double().mean(0), rtol=1e-12, atol=0)
        torch.testing.assert_close(std, x.double().std(0, correction=0), rtol=1e-9, atol=1e-9)


def test_a_constant_dimension_does_not_decide_codes():
    """What never varied in the train part is left out, however it varies later."""
    learner = learner_of(MaskedClusters(clusters=16))
    shown = sequences((12, 12, 12))
    shown.x[..., 1] = 3.0
    learner.fit([[view_of(shown)]])
    clusters = learner.objective.clusters
    assert clusters.scale[1] == 0
    other = shown.x.clone()
    other[..., 1] += 100
    assert torch.equal(clusters.codes_of(shown.x), clusters.codes_of(other))
    assert len(clusters.codes_of(shown.x).unique()) > 4


def test_projections_and_codes_are_drawn_with_the_first_weights_and_never_trained():
    learner, same, other = made(), made(), made(seed=1)
    names = ("objective.clusters.projection", "objective.clusters.codes")
    assert all(torch.equal(learner.state_dict()[n], same.state_dict()[n]) for n in names)
    assert not any(torch.allclose(learner.state_dict()[n], other.state_dict()[n]) for n in names)
    before = {n: learner.state_dict()[n].clone() for n in names}
    losses_while_training(learner, {"toy": [view_of(sequences())]}, 2)
    assert all(torch.equal(learner.state_dict()[n], before[n]) for n in names)
    assert not dict(learner.named_parameters()).keys() & set(names)


# k-means


def planted(count=60, seed=0):
    rng = torch.Generator().manual_seed(seed)
    centers = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [8.0, 8.0]])
    label = torch.arange(count) % 4
    return centers[label] + torch.randn(count, 2, generator=rng), label


def test_k_means_finds_planted_clusters_and_assigns_the_nearest():
    x, label = planted()
    for seed in range(5):
        torch.manual_seed(seed)
        centroids = k_means(x, 4, 10)
        own = nearest(x, centroids)
        loops = torch.tensor([min(range(4), key=lambda k: float((row - centroids[k]).norm())) for row in x])
        assert torch.equal(own, loops)
        assert all(len(own[label == k].unique()) == 1 for k in range(4))
        assert len(own.unique()) == 4
        for k in range(4):
            torch.testing.assert_close(centroids[k], x[own == k].mean(0))


@pytest.mark.parametrize("distinct", [1, 3, 8])
def test_k_means_of_few_distinct_rows_is_finite_and_uses_them_all(distinct):
    torch.manual_seed(0)
    x = torch.randn(distinct, 3).repeat(4, 1)
    if len(x) < 4:
        x = x.repeat(4, 1)
    centroids = k_means(x, 4, 5)
    assert centroids.isfinite().all()
    assert len(nearest(x, centroids).unique()) == min(distinct, 4)


def test_an_empty_cluster_moves_to_the_farthest_row(monkeypatch):
    x, _ = planted()
    same = torch.cat([x[:3], x[:1]])
    monkeypatch.setattr("sensorium.plugins.masked.k_means._seeds", lambda *_: same)
    assert len(nearest(x, k_means(x, 4, 10)).unique()) == 4


def test_samples_are_uniform_over_all_parts():
    torch.manual_seed(0)
    often = torch.zeros(30)
    for _ in range(400):
        parts = torch.arange(30.0)[:, None].split([1, 20, 9])
        rows = sample_rows(iter(parts), 6)
        assert len(rows.unique()) == 6
        often[rows[:, 0].long()] += 1
    assert (often / 400 - 0.2).abs().max() < 0.08
    assert len(sample_rows([torch.zeros(3, 2)], 5)) == 3


def test_fewer_tokens_than_clusters_are_refused():
    with pytest.raises(RecipeError, match=r"make 64 clusters of 3 tokens of the train part: lower objective\.clusters"):
        made("k-means", clusters=64, lengths=(1, 2))


def test_padding_is_in_no_cluster():
    learner = made("k-means")
    assert learner.objective.clusters.centroids.abs().max() < 2  # the padding of the records is 1e4


def test_clusters_of_the_start_weights_stay_when_the_encoder_trains():
    learner = made("k-means of start")
    batch, clusters = sequences(), learner.objective.clusters
    view = view_of(batch)
    encode = _Encode(learner.encoders, learner.sharing)
    before = clusters.tokens(view, encode)
    torch.testing.assert_close(before, encode([view])[0].tokens.detach())
    losses_while_training(learner, {"toy": [view]}, 3)
    assert torch.equal(clusters.tokens(view, encode), before)
    assert not torch.allclose(encode([view])[0].tokens, before, rtol=1e-2)
    assert not before.requires_grad


def test_an_encoder_without_layers_says_so():
    with pytest.raises(RecipeError, match="behind block 1 of the encoder SequenceEncoder, which has no layer_stack"):
        made("k-means", k_means=KMeans(of="start", layer=1))


def taught(teacher, **options):
    """Return a learner of clusters of a teacher's tokens."""
    torch.manual_seed(0)
    k_means = KMeans(of="teacher", dim=8, **options)
    objective = MaskedClusters("k-means", 4, k_means=k_means)
    return Learner({"toy": SequenceEncoder()}, objective, teachers={"toy": teacher} if teacher else {})


def test_clusters_of_a_frozen_teacher():
    """The second iteration of HuBERT: another encoder's tokens, of another width, are clustered."""
    teacher = SequenceEncoder(dim=8)
    learner = taught(teacher)
    torch.manual_seed(1)
    learner.fit([[view_of(sequences(LENGTHS * 3))]])
    clusters, view = learner.objective.clusters, view_of(sequences())
    assert clusters.centroids.shape == (4, 8)
    torch.testing.assert_close(
        clusters.tokens(view, _Encode(learner.encoders, {"toy": "toy"})), teacher(view.batch).tokens
    )
    found = losses_while_training(learner, {"toy": [view]}, 30, 1e-2)
    assert found[-1] < 0.8 * found[0]
    assert not any("teacher" in name for name in learner.state_dict())


def test_a_teacher_that_is_missing_or_has_other_tokens_is_refused():
    assert MaskedClusters.variant({"k_means": KMeans(of="teacher")}).needs.teacher
    assert not MaskedClusters.variant({"k_means": KMeans()}).needs.teacher
    assert not MaskedClusters.variant({}).needs.teacher
    with pytest.raises(RecipeError, match=r"tokens of a frozen teacher, and there is none: hand it in"):
        taught(None)

    class Halved(SequenceEncoder):
        def encode_tokens(self, tokens, keep=None):
            features = super().encode_tokens(tokens, keep)
            return Features(features.pooled, features.tokens[:, ::2])

    with pytest.raises(
        RecipeError, match="teacher has 6 tokens of each record of 'toy', and the encoder that is trained 12"
    ):
        taught(Halved()).fit([[view_of(sequences())]])


# Online clusters


def test_the_clustering_loss_trains_the_clustering_head_alone_and_the_prediction_everything_else():
    learner = made("online").train()
    outcome = outcome_of(learner)
    parts = outcome.logs["prediction"] + outcome.logs["clustering"]
    torch.testing.assert_close(outcome.loss.detach(), parts)
    assert not any(p.requires_grad for p in learner.objective.clusters.teacher.parameters())
    monkey = losses.soft_token_cross_entropy
    calls = []

    def only_clustering(scores, targets, mask, temperature):
        calls.append(targets.requires_grad)
        value = monkey(scores, targets, mask, temperature)
        return value if len(calls) == 1 else 0 * value

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "soft_token_cross_entropy", only_clustering)
        learner.zero_grad()
        outcome_of(learner).loss.backward()
    assert calls == [False, False]
    moved = {n for n, p in learner.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert moved == {"objective.clusters.assign.weight", "objective.clusters.assign.bias"}


def test_predictions_are_compared_with_the_teachers_assignments_of_the_same_tokens():
    """The loss by hand: Sinkhorn targets of unit teacher tokens; mutants are caught."""
    learner = made("online").eval()
    batch = sequences((6, 4))
    masked, clusters = halves(batch), learner.objective.clusters
    with torch.no_grad():
        clusters.teacher.encoders["toy"].embed.weight += 0.1
        tokens = clusters.teacher.encoders["toy"](batch).tokens
        student = learner.encoders["toy"](batch).tokens
    seen = []
    clusters.head.register_forward_hook(lambda _, given, out: seen.append(out.detach()))
    forward, indices = clusters.forward, []
    clusters.forward = lambda p, *rest: indices.append((p.index_BM, p.mask_BM)) or forward(p, *rest)
    found = outcome_of(learner, batch, masked=masked).logs["prediction"]
    index, mask = indices[0]

    def loss(tokens, target_temperature=0.06, temperature=0.12, bins=2, unit=True):
        scores = clusters.assign(normalize(tokens, dim=-1) if unit else tokens).detach()
        targets = losses.positionwise_sinkhorn(scores, batch.mask, bins, target_temperature, 3)
        taken = torch.take_along_dim(targets, index[..., None], 1)
        return losses.soft_token_cross_entropy(seen[0], taken, mask, temperature)

    torch.testing.assert_close(found, loss(tokens))
    mutants = loss(student), loss(tokens, 0.12), loss(tokens, temperature=0.06), loss(tokens, bins=1)
    for wrong in (*mutants, loss(tokens, unit=False), loss(tokens.roll(1, 1))):
        assert not torch.allclose(found, wrong, rtol=1e-3)


def test_the_teacher_moves_after_a_step_with_the_momentum():
    learner = made("online", momentum=0.75)
    teacher, student = learner.objective.clusters.teacher.encoders["toy"].embed, learner.encoders["toy"].embed
    before = teacher.weight.clone()
    with torch.no_grad():
        student.weight += 1
    learner.objective.after_step(0.0)
    torch.testing.assert_close(teacher.weight, before + 0.25)
    learner.objective.after_step(1.0)
    torch.testing.assert_close(teacher.weight, before + 0.25)


@pytest.mark.parametrize("batch", [8, 16, 64, 256])
def test_auto_clusters_are_no_more_than_rows_so_that_assignments_are_sharp(batch):
    """With as many rows at a position as there are records, the mean greatest target is far from uniform."""
    clusters = MaskedClusters.auto["clusters"](TrainingSize(records=1000, batch=batch, steps=100))
    assert 2 <= clusters <= batch
    scores = torch.randn(batch, 16, clusters, generator=torch.Generator().manual_seed(0))
    targets = losses.positionwise_sinkhorn(scores, torch.ones(batch, 16, dtype=torch.bool), Online().bins, 0.06)
    assert targets.amax(-1).mean() > 0.3


def test_more_clusters_than_rows_are_refused_at_the_first_step_alone():
    batch = sequences((12,) * 8)
    learner = made("online", clusters=9, online=Online(bins=12)).train()
    with pytest.raises(RecipeError, match="over 9 clusters, and has 8 of them in each of 12 bins of positions"):
        outcome_of(learner, batch)
    learner = made("online", clusters=8, online=Online(bins=99)).train()
    outcome_of(learner, batch)
    outcome_of(learner, sequences((12,)))  # a batch that happens to be small
    outcome_of(made("online", clusters=9).eval(), sequences((1,)))


def test_assignments_of_a_batch_tell_tokens_apart():
    assert measure(outcome_of(made("online"), sequences((12,) * 8)))["health/clusters/information"] > 0.3


def test_tokens_that_are_all_alike_trip_the_collapse_alarm(caplog):
    learner = made("online")
    alarm = CollapseAlarm(Monitor(patience=1), learner.objective.remedy)
    alarm.check(1, outcome_of(learner, Sequences(torch.ones(8, 1, CHANNELS), torch.ones(8, 1, dtype=torch.bool))))
    assert alarm.metrics["health/clusters/information"] < Monitor().information
    assert "uninformative clusters by step 1" in caplog.text
    assert "to do: lower objective.clusters" in caplog.text


# Options


@pytest.mark.parametrize(
    "options",
    [
        {"mask_ratio": 1.0},
        {"mask_length": 0},
        {"clusters": 1},
        {"targets": "online", "k_means": KMeans()},
        {"predictor": Predictor(width=16, heads=3)},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(RecipeError):
        learner_of(MaskedClusters(**options))


@pytest.mark.parametrize(
    ("group", "options"),
    [
        (KMeans, {"layer": 1}),
        (KMeans, {"temperature": 0.0}),
        (Online, {"bins": 0}),
        (Online, {"target_temperature": 0.0}),
        (RandomProjection, {"codebooks": 0}),
        (RandomProjection, {"dim": 0}),
    ],
)
def test_impossible_options_of_a_kind_are_refused(group, options):
    with pytest.raises(RecipeError, match="masked-clusters"):
        group(**options)
