import pytest
import torch
from torch import nn

import sensorium
from sensorium.errors import PluginError, RecipeError
from sensorium.models.optimization import make_optimization
from sensorium.recipe.schema import Optimizer
from sensorium.registration.discovery import load_extensions
from sensorium.registration.registry import Register
from sensorium.training.learning_rate import LearningRate
from sensorium.types import TrainingSize

REGISTRY = load_extensions({}, []).registry


def made(**settings):
    return make_optimization(Optimizer.model_validate(settings), REGISTRY, "optimizer")


def registered(kind, target, name="own"):
    registry = REGISTRY.copy()
    specs = []
    Register(kind, "mine", "mine", specs)(name, f"{__name__}:{target.__name__}", summary="for a test")
    registry.add(specs)
    return registry


def test_the_rate_rises_then_falls_as_a_cosine():
    optimization = made(lr=2.0, warmup=0.1, schedule={"name": "cosine", "min_lr_ratio": 0.1})
    rates = [optimization.lr_at(step, 100, 2.0) for step in range(100)]
    assert rates[0] == pytest.approx(2.0 / 11)
    assert rates[:11] == sorted(rates[:11])
    assert max(rates) == rates[10] == 2.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(2.0 * (0.1 + 0.9 * 0.5), rel=1e-6)
    assert rates[99] == pytest.approx(0.2, rel=1e-2)
    assert made(schedule="constant").lr_at(99, 100, 2.0) == 2.0


def test_a_warm_up_of_one_or_more_is_a_number_of_steps():
    by_steps, by_fraction = made(warmup=10), made(warmup=0.1)
    assert [by_steps.lr_at(s, 100, 1.0) for s in range(100)] == [by_fraction.lr_at(s, 100, 1.0) for s in range(100)]
    assert by_steps.lr_at(10, 10_000, 1.0) == 1.0


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars", "muon"])
def test_every_optimizer_takes_a_step_on_all_parameters(name):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 2))
    optimizer = made(name=name, lr=0.1).optimizer(module)
    before = [weight.detach().clone() for weight in module.parameters()]
    module(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


def two_rates(learner, lr, weight_decay, head_factor: float = 0.1):
    """SGD with another rate for biases.

    Args:
        learner: what is trained.
        lr: of weights.
        weight_decay: of all.
        head_factor: of biases.
    """
    matrices = [p for p in learner.parameters() if p.ndim > 1]
    vectors = [p for p in learner.parameters() if p.ndim < 2]
    return torch.optim.SGD([{"params": matrices}, {"params": vectors, "lr": lr * head_factor}], lr=lr)


def test_groups_keep_the_ratio_of_their_rates():
    settings = Optimizer.model_validate({"name": "own", "lr": 2.0, "warmup": 0, "head_factor": 0.5})
    optimization = make_optimization(settings, registered("optimizers", two_rates), "optimizer")
    optimizer = optimization.optimizer(nn.Linear(2, 2))
    lr = LearningRate(optimizer, optimization, 10)
    lr.set(5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1.0, 0.5])
    assert lr.at(5) == pytest.approx(1.0)


def leaves_out(learner, lr, weight_decay):
    return torch.optim.SGD([p for p in learner.parameters() if p.ndim > 1], lr=lr)


def holds_frozen(learner, lr, weight_decay):
    return torch.optim.SGD(learner.parameters(), lr=lr)


def makes_nothing(learner, lr, weight_decay):
    return None


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (leaves_out, r"'own' leaves out 1 of 3 parameters \(0.bias\): its groups must hold every"),
        (holds_frozen, r"'own' holds 1 parameters that are not trained, such as those of a teacher"),
        (makes_nothing, r"'own' returned None, which is no torch.optim.Optimizer"),
    ],
)
def test_what_an_optimizer_holds_is_checked(function, said):
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].bias.requires_grad_(False)
    optimization = make_optimization(Optimizer(name="own"), registered("optimizers", function), "optimizer")
    with pytest.raises(PluginError, match=said):
        optimization.optimizer(module)


def takes_parameters(params, lr):
    return torch.optim.SGD(params, lr=lr)


class Falls(sensorium.Schedule):
    """Below zero."""

    def __call__(self, step, steps):
        """Return it."""
        return 0.4 - step / steps


def test_what_does_not_fit_is_told_before_a_training():
    with pytest.raises(PluginError, match=r"function of \(learner, lr, weight_decay, ...\), .* not take weight_decay"):
        make_optimization(Optimizer(name="own"), registered("optimizers", takes_parameters), "optimizer")
    with pytest.raises(RecipeError, match=r"'own' gives the factor -0.09\d* at step 50 of 100: it must be a number"):
        make_optimization(Optimizer(schedule="own"), registered("schedules", Falls), "optimizer")
    with pytest.raises(RecipeError, match=r"optimizer.momentum = 0.9: 'adamw' has no option 'momentum'"):
        made(momentum=0.9)
    with pytest.raises(
        RecipeError, match=r"optimizer.schedule.decai = 1: 'wsd' has no option .*, did you mean 'decay'"
    ):
        made(schedule={"name": "wsd", "decai": 1})
    with pytest.raises(PluginError, match=r"no optimizer named 'adam'.*adamw"):
        made(name="adam")


def test_auto_asks_the_optimizer_and_says_so_if_it_has_no_rule():
    size = TrainingSize(10_000, 64, 1000)
    assert made(name="muon", lr="auto").resolved(size).settings.lr == 5e-4
    optimization = make_optimization(Optimizer(name="own", lr="auto"), registered("optimizers", two_rates), "optimizer")
    with pytest.raises(RecipeError, match=r"optimizer.lr is auto, but the optimizer 'own' has no rule for it"):
        optimization.resolved(size)
    two_rates.auto = {"lr": lambda size: size.batch / 64, "head_factor": lambda size: 0.25}
    try:
        found = optimization.resolved(size)
        assert (found.settings.lr, found.options["head_factor"]) == (1.0, 0.25)
        assert found.changes(optimization) == {"lr": 1.0, "head_factor": 0.25}
    finally:
        del two_rates.auto
