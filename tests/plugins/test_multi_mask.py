"""Several masked copies of each record for one pass of the teacher: data2vec, I-JEPA, iBOT and DINOv2 alike."""

import copy

import pytest
import torch

from sensorium import Tokens, masking
from sensorium.errors import RecipeError
from sensorium.plugins.masked.data2vec import Data2Vec
from sensorium.plugins.predictive.jepa import JEPA
from tests.distributed.ranks import on_ranks
from tests.plugins import joint_embedding, toy_token_modality

SMALL = {"width": 16, "depth": 1, "heads": 2}
COPIES = 3
TOKENS = {
    "data2vec": lambda **options: Data2Vec(mask_ratio=0.5, **options),
    "data2vec, visible only": lambda **options: Data2Vec(mask_ratio=0.5, visible_only=True, **SMALL, **options),
    "jepa": lambda **options: JEPA(**SMALL, **options),
}
VIEWS = ("ibot", "dinov2")
NAMES = (*TOKENS, *VIEWS)
each = pytest.mark.parametrize("name", NAMES)


def learner_of(name, **options):
    """A learner whose teacher is not its student."""
    if name in TOKENS:
        learner = toy_token_modality.learner_of(TOKENS[name](**options))
    else:
        learner = joint_embedding.learner_of(name, **options)
    torch.manual_seed(5)
    with torch.no_grad():
        for p in learner.objective.teacher.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return learner.double()


def views_of(name, rows=slice(None)):
    if name in TOKENS:
        batch = toy_token_modality.sequences((12, 7, 2, 5), dtype=torch.float64)
        return {"toy": [toy_token_modality.view_of(batch.select(torch.arange(4)[rows]))]}
    views = joint_embedding.views_of(name, 4, dtype=torch.float64, noise=0.5)
    for view in views["a"]:
        view.batch = view.batch.select(torch.arange(4)[rows])
        view.keys = {key: ids[rows] for key, ids in view.keys.items()}
    return views


def masks_of(name, seed, rows=slice(None)):
    """Masks of four records as an objective draws them, the same number of tokens of a record whatever the seed."""
    torch.manual_seed(seed)
    if name == "jepa":
        tokens = Tokens(torch.zeros(4, 12, 1), torch.zeros(1, 12, 1), views_of(name)["toy"][0].batch.mask)
        valid = masking.valid_on_grid(tokens, None)
        context, targets = masking.context_and_targets(valid, 2, (0.9, 0.9), (0.2, 0.2), (1.0, 1.0))
        return context[rows], targets[:, rows]
    if name in VIEWS:
        valid = torch.arange(8) < torch.tensor([8, 5, 8, 6])[:, None]
    else:
        valid = views_of(name)["toy"][0].batch.mask
    order = torch.rand(valid.shape).masked_fill(~valid, 2.0).argsort(1).argsort(1)
    return (order < valid.sum(1, keepdim=True) // 2)[rows]


def give(monkeypatch, name, masks):
    """Let an objective draw these masks, one for each copy of its records."""
    if name == "jepa":
        drawn = torch.cat([m[0] for m in masks]), torch.cat([m[1] for m in masks], dim=1)
        monkeypatch.setattr(masking, "context_and_targets", lambda *_: drawn)
    else:
        which = "random_ratio_mask" if name in VIEWS else "random_mask"
        monkeypatch.setattr(masking, which, lambda *_: torch.cat(masks))


def loss_and_gradients(name, monkeypatch, masks, rows=slice(None), **options):
    learner = learner_of(name, masks=len(masks), **options).eval()
    give(monkeypatch, name, masks)
    loss = learner(views_of(name, rows)).loss
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in learner.named_parameters() if p.requires_grad}


def assert_mean(whole, parts, weights, rtol=1e-9):
    expected = sum(w * loss for w, (loss, _) in zip(weights, parts, strict=True)) / sum(weights)
    torch.testing.assert_close(whole[0], expected, rtol=rtol, atol=1e-12)
    for key, gradient in whole[1].items():
        expected = sum(w * gradients[key] for w, (_, gradients) in zip(weights, parts, strict=True)) / sum(weights)
        torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=1e-11, msg=lambda m, k=key: f"{k}: {m}")


@each
def test_is_the_mean_of_as_many_trainings_with_one_mask(name, monkeypatch):
    """In DINOv2 every copy is balanced over the prototypes with the others: its masks are of one kind here."""
    options = {"koleo": 0.4} if name == "dinov2" else {}
    masks = [masks_of(name, seed) for seed in range(COPIES)]
    weights = [targets.sum() for _, targets in masks] if name == "jepa" else [1] * COPIES  # each token weighs alike
    if name == "dinov2":
        masks = masks[:1] * COPIES
    whole = loss_and_gradients(name, monkeypatch, masks, **options)
    parts = [loss_and_gradients(name, monkeypatch, [mask], **options) for mask in masks]
    assert_mean(whole, parts, weights)
    # A copy that was given another record's targets is another number.
    monkeypatch.setattr(Tokens, "repeat", interleaved)
    with pytest.raises(AssertionError):
        assert_mean(loss_and_gradients(name, monkeypatch, masks, **options), parts, weights, 1e-4)


def interleaved(tokens, copies):
    """A mutant of `Tokens.repeat`: the copies of a record follow each other."""
    mask = None if tokens.mask is None else tokens.mask.repeat_interleave(copies, 0)
    return Tokens(tokens.x.repeat_interleave(copies, 0), tokens.positions, mask)


@each
def test_one_pass_of_the_teacher_and_as_many_copies_of_the_student(name, monkeypatch):
    learner, rows = learner_of(name, masks=COPIES), {"teacher": 0, "student": 0, "tokenized": 0}
    (student,), (teacher,) = learner.encoders.values(), learner.objective.teacher.encoders.values()
    for which, encoder in (("student", student), ("teacher", teacher)):

        def counted(tokens, *keep, encode=encoder.encode_tokens, which=which):
            rows[which] += len(tokens.x) if tokens.x.shape[1] > 4 else 0  # not the local views
            return encode(tokens, *keep)

        monkeypatch.setattr(encoder, "encode_tokens", counted)
    tokenize = student.tokenize

    def tokenized(batch):
        rows["tokenized"] += len(batch) if batch.x.shape[1] > 4 else 0
        return tokenize(batch)

    monkeypatch.setattr(student, "tokenize", tokenized)
    outcome = learner(views_of(name))
    whole = 4 * (2 if name in VIEWS else 1)
    kept_few = name in ("data2vec, visible only", "jepa")
    assert rows["teacher"] == rows["tokenized"] == whole
    assert kept_few or rows["student"] == COPIES * whole
    assert all(len(x) == 4 for x in outcome.features.values())  # copies of a record are no further records


@each
def test_copies_have_masks_of_their_own(name, monkeypatch):
    drawn = []
    which = {"jepa": "context_and_targets"}.get(name, "random_ratio_mask" if name in VIEWS else "random_mask")
    draw = getattr(masking, which)

    def kept(*arguments):
        made = draw(*arguments)
        drawn.append(made[0] if name == "jepa" else made)
        return made

    monkeypatch.setattr(masking, which, kept)
    learner_of(name, masks=COPIES)(views_of(name))
    copies = drawn[0].unflatten(0, (COPIES, -1))
    assert any(not torch.equal(copies[0, b], copies[1, b]) for b in range(4))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "jepa"])  # which draws blocks in any case
def test_views_that_bring_a_mask_are_refused(name):
    views = views_of(name)
    for view in next(iter(views.values())):
        view.info["masked"] = torch.zeros(4, 12 if name in TOKENS else 8, dtype=torch.bool)
    with pytest.raises(RecipeError, match="bring one mask of each record, and the objective masks 3 copies"):
        learner_of(name, masks=COPIES)(views)
    with pytest.raises(RecipeError, match="'masks'"):
        learner_of(name, masks=0)


@each
def test_bfloat16_is_near_and_the_loss_is_fp32(name):
    learner, views, found = learner_of(name, masks=2).float(), views_of(name), []
    for of_modality in views.values():
        for view in of_modality:
            view.batch.x = view.batch.x.float()
    for enabled in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            found.append(copy.deepcopy(learner)(views).loss)
    assert found[1].dtype == torch.float32
    torch.testing.assert_close(found[1], found[0], rtol=0.05, atol=0.05)


CUT = 3


def one_rank(rank, world):
    rows, found = (slice(0, CUT), slice(CUT, 4))[rank], {}
    for name in NAMES:
        with pytest.MonkeyPatch.context() as patch:
            found[name] = loss_and_gradients(name, patch, [masks_of(name, seed, rows) for seed in range(2)], rows)
    return found


def test_two_ranks_are_one_process_with_the_joined_batch(tmp_path, monkeypatch):
    first, second = on_ranks(2, one_rank, tmp_path)
    for name in NAMES:
        whole = loss_and_gradients(name, monkeypatch, [masks_of(name, seed) for seed in range(2)])
        assert_mean(whole, [first[name], second[name]], [1, 1])


def test_tokens_are_repeated_copy_after_copy():
    tokens = Tokens(torch.randn(2, 3, 4), torch.randn(1, 3, 4), torch.rand(2, 3) < 0.5)
    repeated = tokens.repeat(3)
    assert torch.equal(repeated.x, tokens.x.repeat(3, 1, 1))
    assert repeated.positions is tokens.positions
    assert torch.equal(repeated.mask, tokens.mask.repeat(3, 1))
    assert tokens.repeat(1) is tokens
    single = Tokens(torch.randn(1, 3, 4), torch.randn(1, 3, 4)).repeat(2)
    assert single.x.shape == (2, 3, 4)
    assert single.mask is None
