import torch

from sensorium.losses import info_nce
from tests.plugins.joint_embedding import learner_of, views_of


def test_is_algorithm_1():
    learner, views = learner_of("moco-v3").eval(), views_of("moco-v3", noise=2.0)
    objective, encoder = learner.objective, learner.encoders["a"]
    with torch.no_grad():
        for p in objective.teacher.parameters():
            p.add_(0.1 * torch.randn_like(p))
        q = [objective.predict(objective.project(encoder(v.batch).pooled)) for v in views["a"]]
        teacher = objective.teacher
        k = [teacher.heads["project"](teacher.encoders["a"](v.batch).pooled) for v in views["a"]]
        loss = learner(views).loss
    expected = 0.4 * (info_nce(q[0], k[1], 0.2) + info_nce(q[1], k[0], 0.2))
    assert torch.allclose(loss, expected)
    # Mutants: the keys of the same view, the student's own predictions as keys.
    assert not torch.allclose(loss, 0.4 * (info_nce(q[0], k[0], 0.2) + info_nce(q[1], k[1], 0.2)), rtol=1e-3)
    assert not torch.allclose(loss, 0.4 * (info_nce(q[0], q[1], 0.2) + info_nce(q[1], q[0], 0.2)), rtol=1e-3)


def test_the_teacher_has_no_prediction_head():
    assert set(learner_of("moco-v3").objective.teacher.heads) == {"project"}
