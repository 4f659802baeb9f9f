import math

import pytest
import torch

from sensorium import GradientCache, TrainingSize, losses
from sensorium.errors import RecipeError
from sensorium.plugins.predictive.visreg import VISReg
from tests.core.losses.test_visreg import prediction as prediction_reference, reference
from tests.plugins.predictive.test_lejepa import views_of
from tests.plugins.toy_token_modality import learner_of, losses_while_training


def objective(**options):
    return VISReg(**{"width": 16, "dim": 4, "directions": 8} | options)


def projections(learner, views):
    """Return those of all views, (B, V, D)."""
    pooled = torch.stack([learner.encoders["toy"](v.batch).pooled for v in views["toy"]])
    return learner.objective.project(pooled.flatten(0, 1)).unflatten(0, pooled.shape[:2]).transpose(0, 1).detach()


def test_is_the_papers_algorithm_1():
    weights = {"regularization": 0.3, "scale": 2.0, "shape": 0.5, "center": 3.0}
    learner, views = learner_of(objective(**weights)).double().eval(), views_of(dtype=torch.float64)
    torch.manual_seed(1)
    outcome = learner(views)
    torch.manual_seed(1)
    directions = losses.random_directions(4, 8, torch.device("cpu")).double()
    z = projections(learner, views)
    terms = {"prediction": prediction_reference(z, 2)} | dict(
        zip(("scale", "shape", "center"), reference(z, directions), strict=True)
    )
    for name, value in terms.items():
        assert math.isclose(outcome.logs[name], value, rel_tol=1e-6), name
    whole = 0.7 * terms["prediction"] + 0.3 * sum(weights[n] * terms[n] for n in ("scale", "shape", "center"))
    assert math.isclose(outcome.loss.detach(), whole, rel_tol=1e-6)


def std_after_training(regularization, rows=32):
    learner, views = learner_of(objective(regularization=regularization)), views_of(rows, noise=1.0)
    losses_while_training(learner, views, 60, 1e-2, same_draws=False)
    torch.manual_seed(0)
    return learner(views).features["projection"].std(0).mean()


def test_without_regularization_features_collapse_and_with_it_they_do_not():
    assert std_after_training(0.0) < 0.05 < 0.5 < std_after_training(0.6)


def test_a_dozen_records_are_too_few():
    """Quantiles at i / (N + 1) have a std below 1: comparing with them pulls few records to one point."""
    assert std_after_training(0.6, rows=12) < 0.05


def test_directions_are_drawn_anew_at_every_step():
    learner, views = learner_of(objective()).eval(), views_of()
    assert learner(views).logs["shape"] != learner(views).logs["shape"]


def test_a_few_steps_lower_the_loss_and_its_gradient_reaches_everything():
    found = losses_while_training(learner_of(objective(regularization=0.6)), views_of(32), 30, 1e-2)
    assert found[-1] < 0.7 * found[0], found


def test_gradient_caching_is_exact():
    whole, parted = (learner_of(objective()).double() for _ in range(2))
    views = views_of(dtype=torch.float64)["toy"]
    torch.manual_seed(3)
    whole(views).loss.backward()
    parts = [
        [type(view)(view.batch.select(rows), modality="toy") for view in views]
        for rows in torch.arange(8).split([3, 5])
    ]
    torch.manual_seed(3)
    directions = losses.random_directions(4, 8, torch.device("cpu"))
    with pytest.MonkeyPatch.context() as patch:  # the cache seeds each pass
        patch.setattr(losses, "random_directions", lambda *_: directions)
        outcome = GradientCache(parts, parted, "seed").backward()
    torch.manual_seed(3)
    torch.testing.assert_close(outcome.loss, whole(views).loss, rtol=1e-6, atol=1e-8)
    for (name, one), other in zip(whole.named_parameters(), parted.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-5, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")


def test_the_weight_of_regularization_follows_the_data():
    weight = VISReg.auto["regularization"]
    assert (weight(TrainingSize(5000, 64, 10)), weight(TrainingSize(1_281_167, 64, 10))) == (0.6, 0.9)
    for options in ({"regularization": 1.5}, {"shape": -1.0}):
        with pytest.raises(RecipeError, match=next(iter(options))):
            VISReg(**options)


def test_small_batches_bfloat16_and_state():
    learner, views = learner_of(objective()), views_of()
    learner(views_of(rows=2)).loss.backward()
    learner.eval()
    assert learner(views_of(rows=1)).loss.isfinite()
    other, found = learner_of(objective(), seed=1).eval(), []
    other.load_state_dict(learner.state_dict())
    for model, enabled in ((learner, False), (other, False), (other, True)):
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            found.append(model(views).loss)
    assert torch.equal(found[0], found[1])
    assert found[2].dtype == torch.float32
    assert torch.allclose(found[1], found[2], rtol=0.05)
