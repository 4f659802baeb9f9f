import torch
import torch.nn.functional as F

from sensorium import losses
from tests.plugins.joint_embedding import learner_of, views_of


def logits_of(learner, views):
    objective = learner.objective
    z = [objective.project(learner.encoders["a"](v.batch).pooled) for v in views["a"]]
    return [F.normalize(x, dim=1) @ F.normalize(objective.prototypes.weight, dim=1).T for x in z]


def test_local_views_predict_the_codes_of_global_ones():
    learner, views = learner_of("swav").eval(), views_of("swav")
    with torch.no_grad():
        logits = logits_of(learner, views)
        codes = [losses.sinkhorn_knopp(s, 0.05) for s in logits]
        loss = learner(views).loss
    assert torch.allclose(loss, losses.swapped_cross_entropy(logits, codes[:2], 0.1), rtol=1e-5)
    # Mutant: local views have codes too.
    assert not torch.allclose(loss, losses.swapped_cross_entropy(logits, codes, 0.1), rtol=1e-4)


def test_prototypes_are_frozen_at_first():
    learner, views = learner_of("swav", freeze_prototypes=0.5), views_of("swav")
    for progress, moves in ((0.0, False), (0.4, False), (0.5, True)):
        learner.objective.after_step(progress)
        learner.zero_grad()
        learner(views).loss.backward()
        assert bool(learner.objective.prototypes.weight.grad.abs().sum() > 0) == moves


def test_the_norm_of_a_prototype_does_not_matter():
    learner, views = learner_of("swav").eval(), views_of("swav")
    with torch.no_grad():
        before = learner(views).loss
        learner.objective.prototypes.weight.mul_(torch.linspace(0.1, 10, 12)[:, None])
        assert torch.allclose(learner(views).loss, before, rtol=1e-5)
