import torch
import torch.nn.functional as F

from sensorium.losses import info_nce, nearest_in_queue
from tests.plugins.joint_embedding import learner_of, views_of


def test_is_equation_3_both_ways():
    learner, views = learner_of("nnclr").eval(), views_of("nnclr", noise=2.0)
    objective, encoder = learner.objective, learner.encoders["a"]
    with torch.no_grad():
        z = [objective.project(encoder(v.batch).pooled) for v in views["a"]]
        p = [objective.predict(x) for x in z]
        near = [nearest_in_queue(x, objective.queue.rows) for x in z]
        loss = learner(views).loss
    assert torch.allclose(loss, (info_nce(near[0], p[1], 0.1) + info_nce(near[1], p[0], 0.1)) / 2)
    # Mutants: the view itself in place of its neighbor, the prediction of the same view.
    assert not torch.allclose(loss, (info_nce(z[0], p[1], 0.1) + info_nce(z[1], p[0], 0.1)) / 2, rtol=1e-3)
    assert not torch.allclose(loss, (info_nce(near[0], p[0], 0.1) + info_nce(near[1], p[1], 0.1)) / 2, rtol=1e-3)


def test_training_queues_the_first_view():
    learner = learner_of("nnclr")
    outcome = learner(views_of("nnclr"))
    learner.objective.after_step(0.1)
    assert torch.allclose(learner.objective.queue.rows[:12], F.normalize(outcome.features["projection"], dim=1))
    assert outcome.logs["queue_filled"] == 12 / 40
    outcome.loss.backward()
    assert not learner.objective.queue.rows.requires_grad
