import copy

import pytest
import torch

from sensorium import losses
from tests.plugins.joint_embedding import learner_of, views_of


def parts(learner, views):
    """Projections, predictions and targets of both views, by hand."""
    objective, encoder = learner.objective, learner.encoders["a"]
    z = [objective.project(encoder(v.batch).pooled) for v in views["a"]]
    teacher = objective.teacher
    targets = [teacher.heads["project"](teacher.encoders["a"](v.batch).pooled) for v in views["a"]]
    return z, [objective.predict(x) for x in z], targets


def apart(learner):
    """Give the teacher weights of its own; fixed statistics."""
    with torch.no_grad():
        for p in learner.objective.teacher.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return learner.eval()


def test_is_equation_2_both_ways():
    learner, views = apart(learner_of("byol")), views_of("byol", noise=2.0)
    _, p, t = parts(learner, views)
    expected = sum((2 - 2 * torch.cosine_similarity(a, b)).mean() for a, b in zip(p, t[::-1], strict=True))
    assert torch.allclose(learner(views).loss, expected)
    same_view = sum((2 - 2 * torch.cosine_similarity(a, b)).mean() for a, b in zip(p, t, strict=True))
    assert not torch.allclose(learner(views).loss, same_view, rtol=1e-3)


def test_a_student_as_its_own_teacher_is_another_loss():
    """The negative control: neither the student's projections nor its predictions are the targets."""
    learner, views = apart(learner_of("byol")), views_of("byol", noise=2.0)
    z, p, _ = parts(learner, views)
    own = 4 + 2 * (losses.negative_cosine(p[0], z[1]) + losses.negative_cosine(p[1], z[0]))
    assert not torch.allclose(learner(views).loss, own, rtol=1e-3)


def test_the_teacher_follows_by_its_momentum_which_rises_to_one():
    learner = apart(learner_of("byol", momentum=0.9))
    mine, theirs = learner.objective.teacher.heads["project"][0].weight, learner.objective.project[0].weight
    before = mine.clone()
    learner.objective.after_step(0.0)
    assert torch.allclose(mine, 0.9 * before + 0.1 * theirs)
    before = mine.clone()
    learner.objective.after_step(0.5)
    assert torch.allclose(mine, 0.95 * before + 0.05 * theirs)
    before = mine.clone()
    learner.objective.after_step(1.0)
    assert torch.equal(mine, before)


def test_the_teacher_has_no_prediction_head_and_survives_a_copy():
    learner = learner_of("byol")
    assert set(learner.objective.teacher.heads) == {"project"}
    other = copy.deepcopy(learner)
    with torch.no_grad():
        other.objective.project[0].weight.add_(1)
    other.objective.after_step(0.0)
    mean = float(
        (other.objective.teacher.heads["project"][0].weight - learner.objective.project[0].weight).detach().mean()
    )
    assert mean == pytest.approx(0.01, rel=1e-3)
