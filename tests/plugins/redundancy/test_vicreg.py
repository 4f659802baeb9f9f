import torch

from sensorium import losses
from tests.plugins.joint_embedding import learner_of, views_of


def test_is_the_loss_of_expanded_features_with_its_weights():
    learner, views = learner_of("vicreg", invariance=3.0, variance=5.0, covariance=7.0).eval(), views_of("vicreg")
    with torch.no_grad():
        z = [learner.objective.expand(learner.encoders["a"](v.batch).pooled) for v in views["a"]]
        assert torch.allclose(learner(views).loss, losses.vicreg(*z, 3.0, 5.0, 7.0))
    assert isinstance(learner.objective.expand[-1], torch.nn.Linear)
