import copy
from contextlib import nullcontext

import pytest
import torch

from sensorium import losses, masking
from sensorium.errors import RecipeError
from sensorium.plugins.predictive.jepa import JEPA
from tests.plugins.toy_token_modality import Sequences, learner_of, losses_while_training, sequences, view_of

MODULE = "sensorium.plugins.predictive.jepa"
LENGTHS = (12, 7, 2, 1, 5)


def objective(**options):
    return JEPA(**{"width": 16, "depth": 1, "heads": 2, "momentum": 0.9} | options)


def double(**encoder):
    learner = learner_of(objective(), **encoder).double().eval()
    with torch.no_grad():  # a teacher that is not the student
        for p in learner.objective.teacher.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return learner


def drawn(learner, batch):
    tokens = learner.encoders["toy"].tokenize(batch)
    return masking.context_and_targets(masking.valid_on_grid(tokens, None), 4, (0.85, 1.0), (0.15, 0.2), (0.75, 1.5))


def reference(learner, batch, context, targets):
    """Assran et al. 2023, section 3: every block of every record by itself, without padding."""
    encoder, objective, sizes = learner.encoders["toy"], learner.objective, []
    for b in range(len(batch)):
        n = int(batch.mask[b].sum())
        row, (visible,) = Sequences(batch.x[b : b + 1, :n]), context[b].nonzero().T
        tokens = encoder.tokenize(row)
        seen = encoder.encode_tokens(tokens, visible[None])
        targets_TD = objective.teacher.encoders["toy"](row).tokens[0].detach()
        for block in targets[:, b]:
            (index,) = block.nonzero().T
            valid = torch.ones(1, len(index), dtype=torch.bool)
            predictions = objective.predictor(seen, tokens.positions, visible[None], index[None], valid)[0]
            for prediction, target in zip(predictions, targets_TD[index], strict=True):
                centered = target - target.mean()
                size = (prediction - centered / (centered.square().mean() + 1e-5).sqrt()).abs()
                sizes.append(torch.where(size < 1, size**2 / 2, size - 0.5).mean())
    return torch.stack(sizes).mean()


def test_is_the_papers_on_rows_of_any_length(monkeypatch):
    learner, batch = double(), sequences(LENGTHS, dtype=torch.float64)
    made = drawn(learner, batch)
    monkeypatch.setattr("sensorium.masking.context_and_targets", lambda *_: made)
    found, right = learner({"toy": [view_of(batch)]}).loss, reference(learner, batch, *made)
    assert torch.allclose(found, right, rtol=1e-9)
    parameters = [p for p in learner.parameters() if p.requires_grad]
    for one, other in zip(*(torch.autograd.grad(loss, parameters) for loss in (found, right)), strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-10)
    # A loss that counts what fills rows up is another number.
    exact = losses.masked_regression
    monkeypatch.setattr(losses, "masked_regression", lambda x, y, mask, how: exact(x, y, mask | True, how))
    assert not torch.allclose(learner({"toy": [view_of(batch)]}).loss, right, rtol=1e-3)


def test_targets_are_masked_for_the_student_and_visible_to_the_teacher(monkeypatch):
    learner, batch = double(), sequences(LENGTHS, dtype=torch.float64)
    made = drawn(learner, batch)
    monkeypatch.setattr("sensorium.masking.context_and_targets", lambda *_: made)
    masked, found = made[1].any(0)[..., None], []
    for extra in (0.0, 5.0):
        torch.manual_seed(0)
        other = Sequences(torch.where(masked, batch.x + extra * torch.randn(3), batch.x), batch.mask)
        found.append(learner({"toy": [view_of(other)]}))
    assert torch.equal(found[0].features["features"], found[1].features["features"])
    assert not torch.allclose(found[0].loss, found[1].loss)


def teacher_is_still(learner, views):
    learner.zero_grad()
    learner(views).loss.backward()
    return all(p.grad is None for p in learner.objective.teacher.parameters())


def test_the_teacher_follows_and_is_not_trained(monkeypatch):
    learner, views = learner_of(objective()), {"toy": [view_of(sequences(LENGTHS))]}
    teacher, student = learner.objective.teacher.encoders["toy"], learner.encoders["toy"]
    assert teacher_is_still(learner, views)
    before = copy.deepcopy(teacher.embed.weight)
    with torch.no_grad():
        student.embed.weight.add_(1)
    learner.objective.after_step(0.0)
    assert torch.allclose(teacher.embed.weight, 0.9 * before + 0.1 * student.embed.weight)
    learner.objective.teacher.requires_grad_(True)  # the mutant: a gradient through the teacher
    monkeypatch.setattr(f"{MODULE}.torch.no_grad", nullcontext)
    assert not teacher_is_still(learner, views)


@pytest.mark.parametrize("grid", [None, (3, 4)])
def test_a_few_steps_lower_the_loss(grid):
    learner = learner_of(objective(momentum=1.0), grid=grid)
    found = losses_while_training(learner, {"toy": [view_of(sequences((12,) * 8, padded=False))]}, 40, 1e-2)
    assert found[-1] < 0.5 * found[0], found


def test_small_records_and_batches():
    learner = learner_of(objective())
    for lengths in ((1, 1), (2,), (12,), (2, 1, 12)):
        learner.zero_grad()
        outcome = learner({"toy": [view_of(sequences(lengths))]})
        outcome.loss.backward()
        assert (outcome.loss == 0) == (max(lengths) == 1)
        assert all(p.grad.isfinite().all() for p in learner.parameters() if p.requires_grad)


def test_bfloat16_is_near_and_the_loss_is_fp32():
    learner, views, found = learner_of(objective()), {"toy": [view_of(sequences(LENGTHS))]}, []
    for enabled in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            found.append(learner(views).loss)
    assert found[1].dtype == torch.float32
    assert torch.allclose(*found, rtol=0.05)


def test_survives_its_state_dict():
    learner, views, found = learner_of(objective()), {"toy": [view_of(sequences(LENGTHS))]}, []
    losses_while_training(learner, views, steps=2)
    other = learner_of(objective(), seed=1)
    other.load_state_dict(learner.state_dict())
    for model in (learner, other):
        torch.manual_seed(0)
        found.append(model(views).loss)
    assert torch.equal(*found)


def test_views_that_do_not_fill_the_encoders_grid_are_refused():
    learner = learner_of(objective(), grid=(3, 4))
    with pytest.raises(RecipeError, match="grid of 3x4, but its views have 7 tokens"):
        learner({"toy": [view_of(sequences((7, 7), padded=False))]})
