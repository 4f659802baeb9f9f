import torch

from sensorium import losses
from tests.plugins.joint_embedding import learner_of, views_of


def unmasked(**options):
    """A learner that masks nothing, and views."""
    return learner_of("dinov2", mask_probability=0.0, **options).eval(), views_of("dinov2")


def test_targets_are_balanced_over_both_global_views():
    learner, views = unmasked(koleo=0.0)
    objective, encoder, teacher = learner.objective, learner.encoders["a"], learner.objective.teacher
    with torch.no_grad():
        logits = [objective.head(encoder(v.batch).pooled) for v in views["a"]]
        teacher_logits = torch.cat(
            [teacher.heads["head"](teacher.encoders["a"](v.batch).pooled) for v in views["a"][:2]]
        )
        targets = losses.sinkhorn_knopp(teacher_logits, 0.04).chunk(2)
        expected = losses.swapped_cross_entropy(logits, targets, 0.1)
        assert torch.allclose(learner(views).loss, expected, rtol=1e-5)


def test_koleo_spreads_the_students_pooled_features_of_global_views():
    (plain, views), (regularized, _) = unmasked(koleo=0.0), unmasked(koleo=0.3)
    with torch.no_grad():
        term = sum(losses.koleo(plain.encoders["a"](v.batch).pooled) for v in views["a"][:2])
        assert torch.allclose(regularized(views).loss - plain(views).loss, 0.3 * term, atol=1e-5)


def test_tokens_have_a_head_of_their_own():
    learner = learner_of("dinov2")
    objective = learner.objective
    outcome = learner(views_of("dinov2"))
    weights = [objective.head.project[0].weight, objective.token_head.project[0].weight]
    by_view, by_token = torch.autograd.grad(outcome.loss, weights)
    assert by_view.abs().sum() > 0
    assert by_token.abs().sum() > 0
    student, teacher = objective.token_heads()
    assert student is objective.token_head
    before = teacher.project[0].weight.clone()
    with torch.no_grad():
        student.project[0].weight.add_(1)
    objective.after_step(0.0)
    assert torch.allclose(teacher.project[0].weight, before + 0.01, atol=1e-5)
    assert not any("center" in name for name, _ in learner.named_buffers())


def test_the_momentum_stays_where_it_begins_if_a_recipe_says_so():
    for final, moved in ((0.9, 0.1), (1.0, 0.0)):
        objective = learner_of("dinov2", momentum=0.9, final_momentum=final).objective
        before = objective.teacher.heads["head"].project[0].weight.clone()
        with torch.no_grad():
            objective.head.project[0].weight.add_(1)
        objective.after_step(1.0)
        assert torch.allclose(objective.teacher.heads["head"].project[0].weight, before + moved, atol=1e-5)
