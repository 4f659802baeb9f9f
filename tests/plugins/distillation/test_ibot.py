import pytest
import torch

from sensorium import Features, Tokens, View, losses
from sensorium.blocks.masking import random_ratio_mask
from sensorium.errors import RecipeError
from sensorium.models.learner import Learner
from tests.plugins.joint_embedding import OPTIONS, learner_of, objective_class, views_of
from tests.plugins.toy_tokens import StepBatch, StepEncoder


def masked_views(count=12, small=True):
    """Views whose global ones carry masks."""
    views = views_of("ibot", count, small=small)
    for number, view in enumerate(views["a"][:2]):
        view.info["masked"] = torch.rand(count, 8, generator=torch.Generator().manual_seed(number)) < 0.4
    return views


def tokens_of(lengths, t=8):
    valid = torch.arange(t) < torch.tensor(lengths)[:, None]
    view = View(StepBatch(torch.zeros(len(lengths), t, 4), torch.tensor(lengths)))
    return view, Tokens(torch.zeros(len(lengths), t, 12), torch.zeros(1, t, 12), valid)


def test_mask_ratios_are_of_valid_tokens():
    view, tokens = tokens_of([20, 10] * 200, t=20)
    mask = random_ratio_mask(view, tokens, (0.5, 0.5), 1.0)
    assert mask.sum(1).tolist() == [10, 5] * 200
    assert not (mask & ~tokens.mask).any()
    assert (mask[::2].float().mean(0) - 0.5).abs().max() < 0.15  # every token alike
    some = random_ratio_mask(view, tokens, (0.1, 0.5), 0.5).sum(1)[::2]
    assert 0.35 < (some > 0).float().mean() < 0.65
    assert some[some > 0].min() >= 2
    assert some.max() <= 10
    assert not random_ratio_mask(view, tokens, (0.1, 0.5), 0.0).any()


def test_the_mask_of_a_view_is_used_and_padding_is_never_masked():
    view, tokens = tokens_of([8, 3])
    view.info["masked"] = torch.ones(2, 8, dtype=torch.bool)
    assert random_ratio_mask(view, tokens, (0.1, 0.5), 0.5).sum(1).tolist() == [8, 3]


def test_is_equations_2_and_3_of_a_masked_student_and_an_unmasked_teacher():
    learner, views = learner_of("ibot").eval(), masked_views()
    objective, encoder, teacher = learner.objective, learner.encoders["a"], learner.objective.teacher
    with torch.no_grad():
        for p in teacher.parameters():
            p.add_(0.1 * torch.randn_like(p))
        students, targets, by_token = [], [], 0.0
        for view in views["a"][:2]:
            tokens = encoder.tokenize(view.batch)
            mask = view.info["masked"] & tokens.mask
            seen = torch.where(mask[..., None], objective.mask_token, tokens.x)
            student = encoder.encode_tokens(Tokens(seen, tokens.positions, tokens.mask))
            whole = teacher.encoders["a"](view.batch)
            students.append(objective.head(student.pooled))
            targets.append(losses.centered_softmax(teacher.heads["head"](whole.pooled), torch.zeros(24), 0.04))
            target = losses.centered_softmax(teacher.heads["head"](whole.tokens[mask]), torch.zeros(24), 0.04)
            by_token += losses.masked_cross_entropy(objective.head(student.tokens[mask]), target, mask, 0.1) / 2
        students += [objective.head(encoder(view.batch).pooled) for view in views["a"][2:]]
        by_view = losses.swapped_cross_entropy(students, targets, 0.1)
        outcome = learner(views)
    assert torch.allclose(outcome.logs["view_loss"], by_view, rtol=1e-5)
    assert torch.allclose(outcome.logs["token_loss"], by_token, rtol=1e-5)
    assert torch.allclose(outcome.loss, by_view + by_token, rtol=1e-5)


def test_masked_tokens_reach_the_loss_through_the_teacher_alone():
    """The negative control: a student that saw masked tokens would send gradient to their embeddings."""
    learner, views = learner_of("ibot").eval(), masked_views(small=False)
    for view in views["a"]:
        view.batch.x = view.batch.x.clone().requires_grad_()
    learner(views).loss.backward()
    for view in views["a"]:
        gradient = view.batch.x.grad.abs().sum(2)
        valid = torch.arange(8) < view.batch.lengths[:, None]
        assert gradient[view.info["masked"]].eq(0).all()
        assert gradient[~view.info["masked"] & valid].gt(0).all()


@pytest.mark.parametrize("name", ["ibot", "dinov2"])
def test_without_masks_the_loss_of_views_is_left(name):
    learner, views = learner_of(name, mask_probability=0.0), views_of(name)
    outcome = learner(views)
    outcome.loss.backward()
    assert outcome.logs["token_loss"] == 0
    assert all(p.grad is not None for p in learner.parameters() if p.requires_grad)


class InHalves(StepEncoder):
    """Pools the tokens of a record to the means of its halves."""

    def __init__(self):
        super().__init__()
        self.width, self.dim = self.dim, 2 * self.dim

    token_dim = property(lambda self: self.width)

    def tokenize(self, batch):
        tokens = super().tokenize(batch)
        return Tokens(tokens.x, tokens.positions[..., : self.width], tokens.mask)

    def encode_tokens(self, tokens, keep=None):
        features = super().encode_tokens(tokens, keep)
        return Features(features.tokens.unflatten(1, (2, -1)).mean(2).flatten(1), features.tokens, features.mask)


def test_a_shared_head_needs_tokens_and_pooled_features_of_one_width():
    with pytest.raises(RecipeError, match=r"are 24 and 12 wide here: .* 'dinov2'"):
        Learner({"a": InHalves()}, objective_class("ibot")(**OPTIONS["ibot"]))
    learner = Learner({"a": InHalves()}, objective_class("dinov2")(**OPTIONS["dinov2"]))
    assert torch.isfinite(learner(masked_views()).loss)
