"""MAE, SimMIM and data2vec against their papers, row by row, and what all of them hold to."""

import copy
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F

from sensorium import losses, masking
from sensorium.errors import RecipeError
from sensorium.plugins.masked.data2vec import Data2Vec
from sensorium.plugins.masked.mae import MAE
from sensorium.plugins.masked.simmim import SimMIM
from tests.plugins.toy_token_modality import Sequences, learner_of, losses_while_training, sequences, view_of

MAKERS = {
    "mae": lambda: MAE(width=16, depth=1, heads=2),
    "simmim": lambda: SimMIM(mask_ratio=0.5),
    "data2vec": lambda: Data2Vec(mask_ratio=0.5, momentum=0.9),
}
each = pytest.mark.parametrize("name", MAKERS)
kinds = pytest.mark.parametrize("classes", [False, True])


def cost(name, prediction, target):
    """The loss of one masked token, by the papers."""
    if not target.is_floating_point():
        return F.cross_entropy(prediction, target)
    size = (prediction - target).abs()
    if name == "mae":
        return size.square().mean()
    return size.mean() if name == "simmim" else torch.where(size <= 2, size**2 / 4, size - 1).mean()


def predictions_of_row(name, learner, row, masked):
    """Return the predictions of one record without padding, and their targets."""
    encoder, objective = learner.encoders["toy"], learner.objective
    tokens, (index,), (visible,) = encoder.tokenize(row), masked.nonzero().T, (~masked).nonzero().T
    if name == "mae":
        seen = encoder.encode_tokens(tokens, visible[None])
        valid = torch.ones(1, len(index), dtype=torch.bool)
        found = objective.decoder(seen, tokens.positions, visible[None], index[None], valid)[0]
        return found, encoder.token_targets(row)[0][index]
    tokens.x = torch.where(masked[None, :, None], objective.mask_token, tokens.x)
    found = objective.head(encoder.encode_tokens(tokens).tokens[0, index])
    if name == "simmim":
        return found, encoder.token_targets(row)[0][index]
    target = learner.objective.teacher.encoders["toy"](row).tokens[0, index]
    mean, std = (
        target.mean(1, keepdim=True),
        (target - target.mean(1, keepdim=True)).square().mean(1, keepdim=True).add(1e-5).sqrt(),
    )
    return found, (target - mean) / std


def reference(name, learner, batch, masked):
    """The mean over all masked tokens, each record encoded alone and without padding."""
    costs = []
    for b in range(len(batch)):
        n = int(batch.mask[b].sum())
        found, targets = predictions_of_row(name, learner, Sequences(batch.x[b : b + 1, :n]), masked[b, :n])
        costs += [cost(name, prediction, target) for prediction, target in zip(found, targets, strict=True)]
    return torch.stack(costs).mean()


def double(name, **encoder):
    learner = learner_of(MAKERS[name](), **encoder).double().eval()
    if name == "data2vec":  # a teacher that is not the student
        with torch.no_grad():
            for p in learner.objective.teacher.parameters():
                p.add_(0.1 * torch.randn_like(p))
    return learner


@kinds
@each
def test_is_the_papers_on_rows_of_any_length(name, classes, monkeypatch):
    learner, batch = double(name, classes=classes), sequences(dtype=torch.float64)
    view = view_of(batch)
    masked = masking.random_mask(view, learner.encoders["toy"].tokenize(batch), learner.objective.mask_ratio)
    monkeypatch.setattr("sensorium.masking.random_mask", lambda *_: masked)
    found = learner({"toy": [view]}).loss
    assert torch.allclose(found, reference(name, learner, batch, masked), rtol=1e-9)
    parameters = [p for p in learner.parameters() if p.requires_grad]
    ours = torch.autograd.grad(found, parameters)
    theirs = torch.autograd.grad(reference(name, learner, batch, masked), parameters)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("mutant", [torch.ones_like, torch.logical_not], ids=["everything", "the others"])
@each
def test_mutants_are_caught(name, mutant, monkeypatch):
    """A loss that counts visible tokens or padding is another number."""
    learner, batch = double(name), sequences(dtype=torch.float64)
    view = view_of(batch)
    masked = masking.random_mask(view, learner.encoders["toy"].tokenize(batch), 0.5)
    monkeypatch.setattr("sensorium.masking.random_mask", lambda *_: masked)
    which = "masked_regression" if name == "data2vec" else "reconstruction"
    right = getattr(losses, which)
    monkeypatch.setattr(losses, which, lambda x, y, mask, *more: right(x, y, mutant(mask), *more))
    assert not torch.allclose(learner({"toy": [view]}).loss, reference(name, learner, batch, masked), rtol=1e-3)


@each
def test_masked_tokens_are_not_seen(name, monkeypatch):
    """Other content of masked tokens changes the targets and no prediction."""
    learner, batch = double(name), sequences(dtype=torch.float64)
    masked = masking.random_mask(view_of(batch), learner.encoders["toy"].tokenize(batch), 0.5)
    monkeypatch.setattr("sensorium.masking.random_mask", lambda *_: masked)
    found = []
    for extra in (0.0, 5.0):
        torch.manual_seed(0)
        other = Sequences(torch.where(masked[..., None], batch.x + extra, batch.x), batch.mask)
        found.append(learner({"toy": [view_of(other)]}))
    assert torch.equal(found[0].features["features"], found[1].features["features"])
    assert not torch.allclose(found[0].loss, found[1].loss)


@each
def test_records_of_one_token_have_none_masked_and_those_of_two_have_one(name):
    learner = learner_of(MAKERS[name]())
    outcome = learner({"toy": [view_of(sequences((1, 1)))]})
    outcome.loss.backward()
    assert outcome.loss == 0
    assert all(p.grad is not None for p in learner.parameters() if p.requires_grad)
    for lengths in ((2,), (12,), (2, 1), (3, 12)):
        learner.zero_grad()
        outcome = learner({"toy": [view_of(sequences(lengths))]})
        outcome.loss.backward()
        assert outcome.loss > 0
        assert all(p.grad.isfinite().all() for p in learner.parameters() if p.requires_grad)


@kinds
@each
def test_bfloat16_is_near_and_the_loss_is_fp32(name, classes):
    learner, views = learner_of(MAKERS[name](), classes=classes), {"toy": [view_of(sequences())]}
    torch.manual_seed(1)
    exact = learner(views).loss
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = learner(views).loss
    assert found.dtype == torch.float32
    assert torch.allclose(found, exact, rtol=0.05)


@kinds
@each
def test_a_few_steps_lower_the_loss(name, classes):
    learner = learner_of(MAKERS[name](), classes=classes)
    if name == "data2vec":
        learner.objective.momentum = 1.0
    found = losses_while_training(learner, {"toy": [view_of(sequences((12,) * 8, padded=False))]}, 40, 1e-2)
    assert found[-1] < 0.6 * found[0], found


@each
def test_survives_its_state_dict(name):
    learner, views = learner_of(MAKERS[name]()), {"toy": [view_of(sequences())]}
    losses_while_training(learner, views, steps=2)
    other = learner_of(MAKERS[name](), seed=1)
    other.load_state_dict(learner.state_dict())
    found = []
    for model in (learner, other):
        torch.manual_seed(0)
        found.append(model(views).loss)
    assert torch.equal(*found)


def teacher_is_still(learner, views):
    """Whether no gradient reaches the teacher, through its own weights or a shared student."""
    learner.zero_grad()
    learner(views).loss.backward()
    return all(p.grad is None for p in learner.objective.teacher.parameters())


def test_the_teacher_follows_and_is_not_trained(monkeypatch):
    learner, views = learner_of(MAKERS["data2vec"]()), {"toy": [view_of(sequences())]}
    teacher, student = learner.objective.teacher.encoders["toy"], learner.encoders["toy"]
    assert teacher_is_still(learner, views)
    before = copy.deepcopy(teacher.embed.weight)
    with torch.no_grad():
        student.embed.weight.add_(1)
    learner.objective.after_step(0.0)
    assert torch.allclose(teacher.embed.weight, 0.9 * before + 0.1 * student.embed.weight)
    learner.objective.after_step(1.0)
    assert torch.allclose(teacher.embed.weight, 0.9 * before + 0.1 * student.embed.weight)
    # A teacher that trains is caught.
    learner.objective.teacher.requires_grad_(True)
    monkeypatch.setattr("sensorium.plugins.masked.data2vec.torch.no_grad", nullcontext)
    assert not teacher_is_still(learner, views)


def test_mae_hands_the_encoder_the_visible_tokens_alone(monkeypatch):
    learner, batch = learner_of(MAE(mask_ratio=0.75, width=16, depth=1, heads=2)), sequences((12, 12), padded=False)
    seen = []
    encode = learner.encoders["toy"].encode_tokens
    monkeypatch.setattr(
        learner.encoders["toy"], "encode_tokens", lambda tokens, keep: seen.append(keep) or encode(tokens, keep)
    )
    outcome = learner({"toy": [view_of(batch)]})
    assert [tuple(keep.shape) for keep in seen] == [(2, 3)]
    assert outcome.features["features"].shape == (2, 16)


@each
@pytest.mark.parametrize("ratio", [0.0, 1.0, 1.5])
def test_a_mask_ratio_is_between_0_and_1(name, ratio):
    cls = {"mae": MAE, "simmim": SimMIM, "data2vec": Data2Vec}[name]
    with pytest.raises(RecipeError, match=f"option 'mask_ratio' of the objective '{name}' must be"):
        cls(mask_ratio=ratio)
