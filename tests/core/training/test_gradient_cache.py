"""Gradients through the cache are those of the plain large batch; what is drawn twice is drawn alike."""

import copy

import pytest
import torch
from torch import nn

from sensorium import Encoder, Features, NegativeOptions, Objective, Outcome, View, losses
from sensorium.errors import RecipeError, SensoriumError
from sensorium.models.learner import Learner, make_views, views_without_rows
from sensorium.plugins.contrastive.moco import MoCo
from sensorium.plugins.contrastive.simclr import SimCLR
from sensorium.plugins.crossmodal.align import Align
from sensorium.plugins.crossmodal.clip import CLIP
from sensorium.plugins.crossmodal.siglip import SigLIP
from sensorium.presence import presence
from sensorium.recipe.schema import Train
from sensorium.training.gradient_cache import GradientCache
from sensorium.types import Needs, RankedValues, RecordBatch
from tests.toys import Noise, VectorBatch

WIDTH, ROWS = 6, 22
"""Twenty-two rows: no number of parts below divides them."""


class Net(Encoder):
    """Two linear maps with dropout; remembers what it put out."""

    def __init__(self, dim=5, dropout=0.0):
        super().__init__()
        self.dim, self.seen = dim, []
        self.net = nn.Sequential(nn.Linear(WIDTH, 9), nn.Tanh(), nn.Dropout(dropout), nn.Linear(9, dim))
        self.norm = nn.BatchNorm1d(9)

    def forward(self, batch):
        pooled = self.net(batch.values)
        self.seen.append(pooled.detach().clone())
        return Features(pooled)


def learner_of(objective, names, dtype=torch.float64, dropout=0.0):
    torch.manual_seed(0)
    return Learner({name: Net(dropout=dropout) for name in names}, objective).to(dtype).train()


def records(names, dtype=torch.float64, missing=0.0, rows=ROWS):
    rng = torch.Generator().manual_seed(1)
    values = {name: torch.randn(rows, WIDTH, generator=rng, dtype=torch.float64).to(dtype) for name in names}
    masks = {name: torch.rand(rows, generator=rng) >= missing for name in names}
    return values, masks


def parts_of(values, masks, k):
    cuts = torch.arange(len(next(iter(masks.values())))).tensor_split(k)
    made = []
    for rows in cuts:
        present = {name: mask[rows] for name, mask in masks.items()}
        batches = {name: VectorBatch(values[name][rows][present[name]]) for name in values if present[name].any()}
        keys = {"record": rows, "group": rows}
        negatives = {}
        for name in [name for name in present if name.endswith("_negative_1")]:
            of, batch, mask = name.removesuffix("_negative_1"), batches.pop(name, None), present.pop(name)
            negatives |= {} if batch is None else {of: [RankedValues(batch, presence(mask))]}
        here = {name: presence(mask) for name, mask in present.items()}
        made.append(RecordBatch([str(int(r)) for r in rows], batches, here, keys, negatives=negatives))
    return made


def views_of(record_parts, count):
    generators = {name: Noise(None, views=count, strength=0.0) for name in record_parts[0].present}
    example, rng = (
        VectorBatch(torch.zeros(1, WIDTH, dtype=record_parts[0].batches["a"].values.dtype)),
        torch.Generator(),
    )
    absent = {name: views_without_rows(made, example, 0, rng) for name, made in generators.items()}
    return [make_views(part, generators, torch.Generator(), absent) for part in record_parts]


def plain(learner, values, masks, count):
    (views,) = views_of(parts_of(values, masks, 1), count)
    outcome = learner(views)
    outcome.loss.backward()
    return outcome


def cached(learner, values, masks, count, k, scale=1.0, replay=True):
    made = parts_of(values, masks, k)
    views = views_of(made, count)
    cache = GradientCache(views, learner, 0, "step", 0, 0)
    outcome = learner(cache.views, cache.loss)
    (outcome.loss * scale).backward()
    for i, of_part in enumerate(views):
        if replay:
            (learner(of_part, cache.replay(i)).loss * scale).backward()
    return outcome


def gradients(learner):
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in learner.named_parameters()}


def alike(one, other, tolerance):
    """Whether every weight's gradient is the same, but for `tolerance` times the length of the whole gradient."""
    length = torch.stack([g.norm() for g in one.values()]).norm()
    assert length > 1e-3
    return all((one[name] - other[name]).norm() <= tolerance * length for name in one)


OBJECTIVES = {
    "clip": (lambda: CLIP(dim=4), ["a", "b"], 1),
    "siglip": (lambda: SigLIP(dim=4), ["a", "b"], 1),
    "hn-clip": (lambda: CLIP(dim=4, negatives=NegativeOptions(beta=0.5)), ["a", "b"], 1),
    "align": (lambda: Align(dim=4), ["a", "b", "c"], 1),
    "simclr": (lambda: SimCLR(width=7, dim=4), ["a"], 2),
}


@pytest.mark.parametrize("k", [2, 4, 8])
@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
def test_gradients_are_those_of_the_whole_batch(name, k, dtype, tolerance):
    make, names, count = OBJECTIVES[name]
    values, masks = records(names, dtype)
    learner = learner_of(make(), names, dtype)
    twin = copy.deepcopy(learner)
    whole, parted = plain(learner, values, masks, count), cached(twin, values, masks, count, k)
    assert torch.allclose(whole.loss, parted.loss, rtol=tolerance)
    assert alike(gradients(learner), gradients(twin), tolerance)
    if name in ("clip", "siglip", "hn-clip"):
        ratio = twin.objective.log_scale.grad / learner.objective.log_scale.grad
        assert torch.allclose(ratio, torch.ones_like(ratio), rtol=1e-4 if dtype == torch.float32 else 1e-9)


def test_parts_by_themselves_have_another_gradient():
    """The negative control: plain accumulation sees fewer negatives."""
    values, masks = records(["a", "b"])
    learner = learner_of(CLIP(dim=4), ["a", "b"])
    twin = copy.deepcopy(learner)
    plain(learner, values, masks, 1)
    for views in views_of(parts_of(values, masks, 4), 1):
        (twin(views).loss / 4).backward()
    assert not alike(gradients(learner), gradients(twin), 1e-3)
    assert not alike(gradients(learner), gradients(unreplayed(values, masks)), 1e-3)


def unreplayed(values, masks):
    learner = learner_of(CLIP(dim=4), ["a", "b"])
    cached(learner, values, masks, 1, 4, replay=False)
    return learner


@pytest.mark.parametrize("k", [2, 4, 8])
def test_records_may_lack_modalities(k):
    names = ["a", "b", "c"]
    values, masks = records(names, missing=0.5)
    masks["c"][: ROWS // 2] = False  # the first parts have none at all
    learner = learner_of(Align(dim=4), names)
    twin = copy.deepcopy(learner)
    plain(learner, values, masks, 1)
    cached(twin, values, masks, 1, k)
    assert alike(gradients(learner), gradients(twin), 1e-10)


def test_wrong_views_that_a_part_lacks_are_joined():
    values, masks = records(["a", "b", "b_negative_1"])
    masks["b_negative_1"][:6] = False  # the whole of the first part
    made = parts_of(values, masks, 4)
    generators = {name: Noise(None, views=1, strength=0.0) for name in ("a", "b")}
    views = [make_views(part, generators, torch.Generator()) for part in made]
    assert [len(of_part["b"]) for of_part in views] == [1, 2, 2, 2]
    own, wrong = GradientCache(views, learner_of(CLIP(dim=4), ["a", "b"]), 0).views["b"]
    assert (own.is_negative, wrong.is_negative) == (False, True)
    assert len(own) == ROWS
    assert own.present is None
    assert wrong.present.tolist() == masks["b_negative_1"].tolist()
    assert wrong.batch.rows(1).start == 0
    assert len(wrong) == ROWS - 6


@pytest.mark.parametrize("without", [slice(0, 6), slice(6, 12)])
def test_wrong_views_that_a_part_lacks_have_the_gradient_of_the_whole_batch(without):
    values, masks = records(["a", "b", "b_negative_1"])
    masks["b_negative_1"][without] = False  # the whole of one part
    learner = learner_of(CLIP(dim=4), ["a", "b"])
    twin = copy.deepcopy(learner)
    generators = {name: Noise(None, views=1, strength=0.0) for name in ("a", "b")}

    def views_in(made):
        return [make_views(part, generators, torch.Generator()) for part in made]

    twin(views_in(parts_of(values, masks, 1))[0]).loss.backward()
    made = parts_of(values, masks, 4)
    views = views_in(made)
    cache = GradientCache(views, learner, 0, "step", 0, 0)
    learner(cache.views, cache.loss).loss.backward()
    for i, of_part in enumerate(views):
        learner(of_part, cache.replay(i)).loss.backward()
    assert alike(gradients(learner), gradients(twin), 1e-10)
    assert not alike_without_wrong(twin, values, masks)


def alike_without_wrong(twin, values, masks):
    """The negative control: whether a loss that knows no wrong rows has the same gradient."""
    found = gradients(twin)
    twin.zero_grad()
    (own,) = views_of(parts_of({n: values[n] for n in "ab"}, {n: masks[n] for n in "ab"}, 1), 1)
    twin(own).loss.backward()
    return all(torch.allclose(g, found[name]) for name, g in gradients(twin).items())


def test_a_modality_that_no_record_has_gets_zero():
    values, masks = records(["a", "b", "c"])
    masks["c"][:] = False
    learner = learner_of(Align(dim=4), ["a", "b", "c"])
    cached(learner, values, masks, 1, 4)
    assert all(not p.grad.any() for p in learner.encoders["c"].net.parameters())
    assert learner.encoders["a"].net[0].weight.grad.any()


def test_dropout_is_drawn_alike_in_both_passes():
    values, masks = records(["a", "b"])
    learner = learner_of(CLIP(dim=4), ["a", "b"], dropout=0.5)
    cached(learner, values, masks, 1, 4)
    for name in ("a", "b"):
        seen = learner.encoders[name].seen
        assert len(seen) == 8
        assert all(torch.equal(first, second) for first, second in zip(seen[:4], seen[4:], strict=True))


def test_an_outer_scale_is_applied_once():
    values, masks = records(["a", "b"])
    learner = learner_of(CLIP(dim=4), ["a", "b"])
    twin = copy.deepcopy(learner)
    plain(learner, values, masks, 1)
    cached(twin, values, masks, 1, 4, scale=2.0**16)
    scaled = {name: g / 2.0**16 for name, g in gradients(twin).items()}
    assert alike(gradients(learner), scaled, 1e-10)


def test_a_frozen_tower_is_encoded_once():
    values, masks = records(["a", "b"])
    learner = learner_of(CLIP(dim=4), ["a", "b"])
    learner.encoders["a"].requires_grad_(False)
    twin = copy.deepcopy(learner)
    plain(learner, values, masks, 1)
    cached(twin, values, masks, 1, 4)
    assert len(twin.encoders["a"].seen) == 4
    assert alike(gradients(learner), gradients(twin), 1e-10)


def test_running_statistics_move_once():
    class Normed(Net):
        def forward(self, batch):
            return Features(self.net[3](self.norm(self.net[0](batch.values))))

    values, masks = records(["a", "b"])
    torch.manual_seed(0)
    learner = Learner({name: Normed() for name in ("a", "b")}, CLIP(dim=4)).double().train()
    twin = copy.deepcopy(learner)
    cached(learner, values, masks, 1, 4)
    for views in views_of(parts_of(values, masks, 4), 1):
        twin(views)
    for name, buffer in learner.encoders.named_buffers():
        assert torch.allclose(buffer, dict(twin.encoders.named_buffers())[name]), name


def test_a_teacher_and_a_queue_work_through_the_cache():
    values, masks = records(["a"], torch.float32)
    learner = learner_of(MoCo(width=7, dim=4, queue=64), ["a"], torch.float32)
    outcome = cached(learner, values, masks, 2, 4)
    assert torch.isfinite(outcome.loss)
    assert learner.encoders["a"].net[0].weight.grad.any()


def test_activations_of_one_part_are_held():
    """What a whole pass saves for backward shrinks with the parts."""
    names = ["a", "b"]
    values, masks = records(names, rows=512)

    def most(k):
        learner, peak, held = learner_of(CLIP(dim=4), names), 0, 0

        def keep(tensor):
            nonlocal held, peak
            if tensor.shape[:1] and tensor.shape[0] > 512 // 32 - 1 and 9 in tensor.shape[1:]:  # hidden units
                held += tensor.numel()
                peak = max(peak, held)
            return tensor

        made = parts_of(values, masks, k)
        views = views_of(made, 1)
        cache = GradientCache(views, learner, 0)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            learner(cache.views, cache.loss).loss.backward()
            for i, of_part in enumerate(views):
                held = 0
                learner(of_part, cache.replay(i)).loss.backward()
        return peak

    assert most(1) == 16 * most(16) > 0


class Wilful(Objective):
    """Makes batches of its own, or asks for tokens."""

    needs = Needs(views=1, modalities="many")

    def __init__(self, tokens):
        super().__init__()
        self.asks = tokens

    def build(self, encoders):
        pass

    def forward(self, views, encode):
        (view,) = views["a"]
        if self.asks:
            encode.tokenize(view)
        half = View(view.batch.select(torch.arange(4)), modality="a")
        return Outcome(losses.nt_xent(encode([half])[0].pooled, encode([half])[0].pooled, 0.5))


@pytest.mark.parametrize(("tokens", "sentence"), [(True, "asks for tokens"), (False, "batches of its own")])
def test_what_the_cache_cannot_serve_is_refused(tokens, sentence):
    values, masks = records(["a", "b"])
    with pytest.raises(SensoriumError, match=sentence):
        cached(learner_of(Wilful(tokens), ["a", "b"]), values, masks, 1, 2)


def test_a_recipe_must_have_parts_to_join():
    with pytest.raises(ValueError, match="set accumulate to 2 or more"):
        Train(steps=1, gradient_cache=True)
    with pytest.raises(ValueError, match="turn one of them off"):
        Train(steps=1, gradient_cache=True, accumulate=2, compile=True)


def test_an_objective_of_tokens_is_refused_before_data_is_read():
    from sensorium.models.plan import make_plan
    from sensorium.recipe import read_recipe
    from sensorium.registration.discovery import load_extensions

    extensions = load_extensions({}, [])
    changes = ["train.accumulate=4", "train.gradient_cache=true"]
    with pytest.raises(RecipeError, match="learns from tokens"):
        make_plan(read_recipe("language-model", extensions.registry, changes), extensions)
