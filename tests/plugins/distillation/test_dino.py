import pytest
import torch

from sensorium import losses
from tests.plugins.joint_embedding import learner_of, views_of


def with_another_teacher(name="dino", **options):
    """A learner whose teacher has weights of its own."""
    learner = learner_of(name, **options)
    with torch.no_grad():
        for p in learner.objective.teacher.parameters():
            p.add_(0.1 * torch.randn_like(p))
        learner.objective.targets.center.normal_(std=0.01)
    return learner


def test_is_equation_3_with_a_centered_teacher_of_global_views():
    learner, views = with_another_teacher().eval(), views_of("dino")
    objective, teacher = learner.objective, learner.objective.teacher
    with torch.no_grad():
        logits = [objective.head(learner.encoders["a"](v.batch).pooled) for v in views["a"]]
        teacher_logits = [teacher.heads["head"](teacher.encoders["a"](v.batch).pooled) for v in views["a"]]
        targets = [losses.centered_softmax(t, objective.targets.center, 0.04) for t in teacher_logits]
        loss = learner(views).loss
        assert torch.allclose(loss, losses.swapped_cross_entropy(logits, targets[:2], 0.1), rtol=1e-5)
        # Mutants: a teacher that sees local views, one without a center.
        assert not torch.allclose(loss, losses.swapped_cross_entropy(logits, targets, 0.1), rtol=1e-4)
        bare = [losses.centered_softmax(t, 0 * objective.targets.center, 0.04) for t in teacher_logits[:2]]
        assert not torch.allclose(loss, losses.swapped_cross_entropy(logits, bare, 0.1), rtol=1e-4)


def test_the_center_moves_after_a_step_and_in_training_alone():
    learner, views = learner_of("dino"), views_of("dino")
    targets = learner.objective.targets
    logits = torch.randn(6, 24)
    expected = losses.centered_softmax(logits, targets.center, 0.04)
    assert torch.equal(targets(logits, 0.04), expected)
    assert torch.equal(targets(logits, 0.04), expected), "every part of a batch sees the same center"
    learner.objective.after_step(0.1)
    assert torch.allclose(targets.center, 0.19 * logits.mean(0)), "two parts, each a tenth of the way"
    learner.eval()
    before = targets.center.clone()
    learner(views)
    learner.objective.after_step(0.2)
    assert torch.equal(targets.center, before)


def test_prototypes_are_frozen_at_first():
    learner, views = learner_of("dino", freeze_prototypes=0.5), views_of("dino")
    for progress, moves in ((0.0, False), (0.4, False), (0.5, True)):
        learner.objective.after_step(progress)
        learner.zero_grad()
        learner(views).loss.backward()
        head = learner.objective.head
        assert bool(head.prototypes.weight.grad.abs().sum() > 0) == moves
        assert head.project[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("warmup", "found"), [(0.5, [0.04, 0.055, 0.07, 0.07]), (0.0, [0.04, 0.07, 0.07, 0.07])])
def test_the_teacher_temperature_warms_up(warmup, found):
    objective = learner_of("dino", warmup=warmup).objective
    for progress, expected in zip((0.0, 0.25, 0.5, 1.0), found, strict=True):
        objective.after_step(progress)
        assert float(objective.current_teacher_temperature()) == pytest.approx(expected, rel=1e-5)


def test_a_collapsed_teacher_shows_in_the_logs():
    learner, views = learner_of("dino").eval(), views_of("dino")
    uncollapsed = learner(views).logs
    with torch.no_grad():
        learner.objective.targets.center[0] = -100  # every record is assigned to the first prototype
    collapsed = learner(views).logs
    assert collapsed["prototypes_used"] == pytest.approx(1, abs=1e-3)
    assert collapsed["teacher_entropy"] < 1e-3 < uncollapsed["teacher_entropy"]
    assert uncollapsed["prototypes_used"] > 2
