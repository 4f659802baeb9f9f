import torch

from tests.plugins.joint_embedding import learner_of, views_of


def by_hand(learner, views, stop):
    """Chen and He 2021, equation 2 with `stop`, equation 1 without."""
    objective, encoder = learner.objective, learner.encoders["a"]
    z = [objective.project(encoder(v.batch).pooled) for v in views["a"]]
    p = [objective.predict(x) for x in z]
    z = [x.detach() if stop else x for x in z]
    return -(torch.cosine_similarity(p[0], z[1]).mean() + torch.cosine_similarity(p[1], z[0]).mean()) / 2


def test_is_equation_2_with_its_stop_gradient():
    learner, views = learner_of("simsiam").eval(), views_of("simsiam")
    weights = list(learner.parameters())
    loss = learner(views).loss
    found = torch.autograd.grad(loss, weights)
    for stop in (True, False):
        expected = by_hand(learner, views, stop)
        assert torch.allclose(loss, expected)
        gradients = torch.autograd.grad(expected, weights)
        agree = all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(found, gradients, strict=True))
        assert agree == stop  # without it the value is the same, the gradient is not


def test_there_is_no_teacher():
    names = [name for name, _ in learner_of("simsiam").named_modules()]
    assert not any("teacher" in name for name in names)
