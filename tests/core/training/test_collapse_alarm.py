"""The alarm is silent on training that works and loud on training that does not."""

import logging

import pytest
import torch

from sensorium import Assignments, Outcome
from sensorium.errors import TrainingError
from sensorium.parallel import collectives
from sensorium.recipe.schema import Monitor
from sensorium.training.collapse_alarm import ROWS, CollapseAlarm, measure
from tests.distributed.ranks import on_ranks
from tests.plugins.joint_embedding import OPTIONS, learner_of, step, views_of
from tests.plugins.test_joint_embedding import optimizer_of

REMEDY = "raise objective.momentum, so that the teacher moves more slowly"


def rows(n=64, d=16, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def outcome(features, **assignments):
    """An outcome with assignments by name, each how many are in use and the entropy of one assignment."""
    watched = {
        name: Assignments(*(None if value is None else torch.tensor(float(value)) for value in values))
        for name, values in assignments.items()
    }
    return Outcome(torch.zeros(()), features={"features": features}, assignments=watched)


def alarms(outcomes, caplog, remedy=None, **options):
    """Look at outcomes one after the other; return the warnings."""
    alarm = CollapseAlarm(Monitor(patience=3, **options), remedy)
    with caplog.at_level(logging.WARNING, "sensorium"):
        for number, each in enumerate(outcomes):
            alarm.check(10 * (number + 1), each)
    return [record.getMessage() for record in caplog.records]


COLLAPSED = {
    "complete collapse of features": outcome(torch.ones(64, 16) + 1e-4 * rows()),
    "dimensional collapse of features": outcome(rows(64, 1) * torch.ones(16) + 1e-4 * rows()),
    "uninformative prototypes": outcome(rows(), prototypes=(128, 4.852)),
    "collapse to one of the prototypes": outcome(rows(), prototypes=(1.0, 0.0)),
    "uninformative codes": outcome(rows(), codes=(11.1, 2.4)),
    "collapse to one of the codes": outcome(rows(), codes=(1.1, None)),
}


def explaining(*values):
    return [Outcome(torch.zeros(()), explained={"predictions": torch.tensor(value)}) for value in values]


def test_predictions_that_explain_nothing_any_more_have_collapsed(caplog):
    (line,) = alarms(explaining(-0.4, 0.3, 0.5, 0.04, 0.01, -0.1, 0.0), caplog, REMEDY)
    assert line.startswith("collapse of predictions by step 60: the predictions explain nothing of their targets any")
    assert "health/predictions/explained is -0.1, below monitor.explained = 0.1 of the 0.5 that it was" in line
    assert line.endswith(f"{REMEDY}, or lower optimizer.lr.")


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ((-0.4, -2.0, 0.0, 0.01, 0.05, -0.1, -0.2, 0.0), {}),
        ((0.5, 0.1, 0.1, 0.1, 0.1, 0.1), {}),
        ((0.5, 0.0, 0.0, 0.2, 0.0, 0.0, 0.2), {}),
        ((0.5, 0.0, 0.0, 0.0, 0.0), {"explained": 0.0}),
    ],
    ids=["never explained", "a fifth is left", "comes back", "off"],
)
def test_predictions_that_still_explain_have_not(values, options, caplog):
    assert alarms(explaining(*values), caplog, **options) == []


@pytest.mark.parametrize("name", COLLAPSED)
def test_each_kind_of_collapse_is_named_once_with_what_to_change(name, caplog):
    warnings = [line for line in alarms([COLLAPSED[name]] * 6, caplog, REMEDY) if line.startswith(name)]
    (line,) = warnings
    assert "by step 30" in line
    assert "below monitor." in line
    assert line.endswith(f"{REMEDY}, or lower optimizer.lr.")


def test_healthy_outcomes_are_silent(caplog):
    healthy = outcome(rows(), prototypes=(40, 2.0), codes=(9, 1.0))
    assert alarms([healthy] * 6, caplog) == []


def test_a_collapse_must_last(caplog):
    bad, good = COLLAPSED["complete collapse of features"], outcome(rows())
    assert alarms([bad, bad, good, bad, bad, good], caplog) == []


def test_it_warns_again_when_it_comes_back(caplog):
    bad, good = COLLAPSED["collapse to one of the codes"], outcome(rows(), codes=(9, None))
    assert len(alarms([bad] * 4 + [good] + [bad] * 4, caplog)) == 2


def test_stop_ends_the_run(caplog):
    with pytest.raises(
        TrainingError, match=r"complete collapse of features by step 30: .* optimizer.lr; the run stops"
    ):
        alarms([COLLAPSED["complete collapse of features"]] * 3, caplog, on_collapse="stop")


def test_batches_too_small_are_not_judged(caplog):
    assert alarms([outcome(torch.ones(7, 16))] * 6, caplog) == []


def test_figures_are_told_once_for_the_metrics():
    alarm = CollapseAlarm(Monitor())
    alarm.check(1, outcome(rows()))
    assert set(alarm.read()) == {"health/features/std", "health/features/rank"}
    assert alarm.read() == {}


# Real objectives


def train(name, steps=100, looks=10, mutate=None, lr=3e-3, **options):
    """Train an objective on toy records; return what the alarm said."""
    learner = learner_of(name, **options)
    if mutate:
        mutate(learner)
    optimizer, alarm = optimizer_of(learner, lr), CollapseAlarm(Monitor(on_collapse="stop"))
    views = [views_of(name, 32, seed=number, noise=0.5) for number in range(10)]
    for number in range(steps):
        made = step(learner, views[number % 10], optimizer, number, steps)
        if number % looks == 0:
            alarm.check(number, made)


@pytest.mark.parametrize("name", OPTIONS)
def test_no_objective_trips_it(name):
    train(name)


def without_stop_gradient(learner):
    """SimSiam as its equation 1 without the stop-gradient, and without the batch norm that hides the collapse."""
    objective = learner.objective

    def forward(views, encode):
        z = [f.pooled for f in encode(views)]
        p = [objective.predict(objective.project[0](x)) for x in z]
        t = [objective.project[0](x) for x in z]
        loss = -sum(torch.cosine_similarity(a, b).mean() for a, b in zip(p, t[::-1], strict=True)) / 2
        return Outcome(loss, features={"features": z[0].detach(), "projection": t[0].detach()})

    objective.forward = forward


def test_simsiam_without_stop_gradient_trips_it():
    with pytest.raises(TrainingError, match=r"(complete|dimensional) collapse of projection"):
        train("simsiam", mutate=without_stop_gradient, steps=400, lr=1e-2)


def test_vicreg_with_invariance_alone_trips_it():
    with pytest.raises(TrainingError, match=r"(complete|dimensional) collapse of (features|projection)"):
        train("vicreg", steps=400, lr=1e-2, variance=0.0, covariance=0.0)


# Several ranks


def joined(rank, world):
    x_ND = rows(24)
    mine = x_ND[:9] if rank == 0 else x_ND[9:]
    return measure(outcome(mine, prototypes=(10 + rank, rank)))


def test_figures_are_those_of_the_joined_batch(tmp_path):
    first, second = on_ranks(2, joined, tmp_path)
    assert first == second
    whole = measure(outcome(rows(24), prototypes=(10.5, 0.5)))
    assert first == pytest.approx(whole, rel=1e-5)


def test_no_more_rows_than_needed_are_looked_at(monkeypatch):
    seen = []
    monkeypatch.setattr(collectives, "all_gather", lambda x: (seen.append(len(x)), (x, 0))[1])
    measure(outcome(rows(3 * ROWS)))
    assert seen == [ROWS]


def spread(std):
    """Features whose rows differ by about so much around one direction."""
    return outcome(torch.ones(64, 16) + std * rows())


def fall(caplog, start, later, **options):
    alarm = CollapseAlarm(Monitor(patience=3, **options), REMEDY, ["features"])
    alarm.note_start(start)
    with caplog.at_level(logging.WARNING, "sensorium"):
        for step in range(1, 7):
            alarm.check(10 * step, later)
    return [record.getMessage() for record in caplog.records]


def test_features_of_start_weights_that_fall_far_are_told(caplog):
    later = spread(0.08)  # far above monitor.std
    assert fall(caplog, later, later) == []
    (line,) = [line for line in fall(caplog, spread(1.0), later) if "/std" in line]
    assert line.startswith("features lose what the start weights knew by step 30: health/features/std is 0.07")
    assert "below monitor.fall = 0.2 of the 0.6" in line
    assert "(modalities.NAME.unfreeze=[0.1, 0.1])" in line
    caplog.clear()
    assert fall(caplog, spread(1.0), later, fall=0.0) == []
    assert fall(caplog, spread(1.0), spread(0.4)) == []
    alarm = CollapseAlarm(Monitor(patience=1))  # a run from scratch has no such start
    alarm.note_start(spread(1.0))
    alarm.check(1, later)
    assert not caplog.records
