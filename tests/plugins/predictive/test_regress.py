"""Regression on given targets, standardized by the train part; undefined ones and padding are left out."""

import math

import pytest
import torch
from torch import nn

import sensorium
from sensorium import Encoder, Features, Learner, View
from sensorium.errors import RecipeError, SensoriumError
from sensorium.plugins.predictive.distill import Distill, DistillTokens
from sensorium.plugins.predictive.regress import Regress
from sensorium.types import Batch
from tests import toys
from tests.toys import VectorBatch

P = 5


class Grid(Encoder):
    """Tokens on a grid: each is a linear map of its number; padded ones at the end have nan."""

    def __init__(self, grid, dim=6, valid=None):
        super().__init__()
        self.grid, self.dim, self.valid = grid, dim, valid
        self.embed, self.count = nn.Linear(8, dim), grid[0] * grid[1]

    def forward(self, batch: Batch) -> Features:
        pooled_BD = self.embed(batch.values)
        place_T1 = torch.arange(self.count, dtype=pooled_BD.dtype)[:, None]
        tokens_BTD = pooled_BD[:, None] + place_T1.sin()
        mask = None if self.valid is None else (torch.arange(self.count) < self.valid).expand(len(pooled_BD), -1)
        return Features(pooled_BD, tokens_BTD if mask is None else tokens_BTD.masked_fill(~mask[..., None], 9.0), mask)


def vectors(n=16, seed=0):
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))


def described(x):
    """Descriptors of places and scales of their own; the last is constant."""
    rows = torch.stack([x.mean(1), 1e3 * x.std(1) + 7, x[:, 0] * x[:, 1], x.abs().amax(1), torch.ones(len(x))], 1)
    return rows


def view_of(x, rows=None):
    return View(VectorBatch(x), info={} if rows is None else {"descriptors": rows})


def learner_of(targets="descriptors", encoder=None, teacher=None, fitted=True, **options):
    torch.manual_seed(0)
    objective = sensorium.build("objective", "regress", targets=targets, **{"width": 16} | options)
    encoder = encoder or toys.MLP(toys.VectorModality(), dropout=0.0)
    given = {"descriptors": {"a": P}} if targets == "descriptors" else {"teachers": {"a": teacher or Grid((2, 3), 7)}}
    learner = Learner({"a": encoder}, objective, **given)
    if fitted:
        learner.fit([[view_of(x, described(x))] for x in vectors(64, seed=1).chunk(4)])
    return learner.eval()


def test_each_kind_of_target_has_its_class():
    kinds = {"descriptors": Regress, "teacher": Distill, "teacher-tokens": DistillTokens}
    assert {name: type(learner_of(name, Grid((2, 3)), fitted=False).objective) for name in kinds} == kinds
    with pytest.raises(SensoriumError, match="Targets 'teacher' are those of the class Distill: make one of it"):
        Regress("teacher")


def test_the_loss_is_the_mean_square_of_standardized_targets():
    learner, x = learner_of(), vectors()
    rows = described(x)
    rows[3, 1] = torch.nan
    found = learner([view_of(x, rows)])
    train = described(vectors(64, seed=1)).double()
    low, high = (train.sort(0).values[i] for i in (1, -2))  # a thousandth, at least one, at either end
    winsorized = train.clamp(low, high)
    mean, std = winsorized.mean(0), winsorized.std(0, correction=0)
    predictions = learner.objective.head(learner.encoders["a"](VectorBatch(x)).pooled).detach().double()
    total, squares, count = 0.0, 0.0, 0
    for b in range(len(x)):
        for p in range(P - 1):  # the last is constant
            if math.isfinite(rows[b, p]):
                target = min(max(float((rows[b, p] - mean[p]) / std[p]), -6), 6)
                total, squares, count = total + (float(predictions[b, p]) - target) ** 2, squares + target**2, count + 1
    assert math.isclose(found.loss, total / count, rel_tol=1e-4)
    assert math.isclose(found.logs["explained_variance"], 1 - total / squares, rel_tol=1e-3)
    assert found.explained["predictions"] == found.logs["explained_variance"]
    assert found.features == {}


def test_an_undefined_descriptor_changes_no_other_and_no_gradient():
    learner, x = learner_of(), vectors()
    whole = described(x)
    holed = whole.clone()
    holed[2], holed[5, 0] = torch.nan, torch.inf
    without = whole[torch.arange(16) != 2]
    outcome = learner([view_of(x, holed)])
    outcome.loss.backward()
    assert all(p.grad.isfinite().all() for p in learner.parameters())
    x_without = x[torch.arange(16) != 2]
    holed_without = without.clone()
    holed_without[4, 0] = torch.nan
    assert torch.allclose(outcome.loss, learner([view_of(x_without, holed_without)]).loss, rtol=1e-5)


def test_without_records_or_defined_targets_the_loss_is_zero():
    learner = learner_of()
    for x, rows in ((vectors(0), described(vectors(0))), (vectors(4), torch.full((4, P), torch.nan))):
        outcome = learner([view_of(x, rows)])
        outcome.loss.backward()
        assert outcome.loss == outcome.logs["explained_variance"] == 0
    assert all(p.grad is None or p.grad.eq(0).all() for p in learner.parameters())


def test_a_fraction_of_the_targets_is_drawn_for_each_record_and_step():
    learner = learner_of(fraction=0.5)
    x = vectors(400)
    outcomes = []
    for seed in range(2):
        torch.manual_seed(seed)
        outcomes.append(learner([view_of(x, described(x))]).loss)
    every = learner_of()([view_of(x, described(x))]).loss
    assert outcomes[0] != outcomes[1]
    assert all(torch.allclose(loss, every, rtol=0.15) for loss in outcomes)


def test_a_training_explains_its_targets():
    learner = learner_of(layers=3).train()
    optimizer = torch.optim.AdamW(learner.parameters(), lr=5e-3)
    for step in range(150):
        x = vectors(64, seed=step + 10)
        optimizer.zero_grad()
        learner([view_of(x, described(x))]).loss.backward()
        optimizer.step()
    x = vectors(256)
    first, trained = (
        one.eval()([view_of(x, described(x))]).logs["explained_variance"] for one in (learner_of(), learner)
    )
    assert first < 0.05
    assert trained > 0.3


def test_pooled_features_of_the_teacher_are_targets_and_it_stays_as_it_is():
    teacher = Grid((2, 3), dim=7)
    learner, x = learner_of("teacher", teacher=teacher), vectors()
    before = [p.clone() for p in teacher.parameters()]
    outcome = learner.train()([view_of(x)])
    outcome.loss.backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, teacher.parameters(), strict=True))
    objective = learner.objective
    targets, _ = objective.standardize(teacher(VectorBatch(x)).pooled)
    predictions = objective.head(learner.encoders["a"].eval()(VectorBatch(x)).pooled)
    assert torch.allclose(learner.eval()([view_of(x)]).loss, (predictions - targets).square().mean(), rtol=1e-5)


def test_tokens_are_predicted_at_their_places_and_padding_is_left_out():
    learner, x = learner_of("teacher-tokens", Grid((2, 3)), Grid((2, 3), 7, valid=4)), vectors()
    objective = learner.objective
    targets, _ = objective.standardize(objective.teacher(VectorBatch(x)).tokens)
    predictions = objective.head(learner.encoders["a"](VectorBatch(x)).tokens)
    expected = (predictions - targets)[:, :4].square().mean()
    assert torch.allclose(learner([view_of(x)]).loss, expected, rtol=1e-5)
    assert not torch.allclose(expected, (predictions - targets).square().mean(), rtol=1e-3)


def test_a_map_of_tokens_is_resized_to_the_grid_of_the_teacher():
    learner, x = learner_of("teacher-tokens", Grid((4, 6)), Grid((2, 3), 7)), vectors()
    objective, encoder = learner.objective, learner.encoders["a"]
    map_BTD = encoder(VectorBatch(x)).tokens
    resized = objective.predict(Features(map_BTD[:, 0], map_BTD), torch.zeros(16, 6, 7))
    even = objective.head(torch.ones(1, 24, 6))
    assert torch.allclose(objective.predict(Features(even, torch.ones(1, 24, 6)), torch.zeros(1, 6, 7)), even[:, :6])
    blocks = map_BTD.unflatten(1, (4, 6))
    rough = objective.head(blocks.unflatten(1, (2, 2)).unflatten(3, (3, 2)).mean((2, 4)).flatten(1, 2))
    assert torch.corrcoef(torch.stack([resized.flatten(), rough.flatten()]))[0, 1] > 0.98
    learner.train()([view_of(x)]).loss.backward()


def test_tokens_at_other_places_are_refused():
    learner = learner_of("teacher-tokens", Grid((1, 5)), Grid((2, 3), 7))
    learner.objective.grids = None, (2, 3)
    with pytest.raises(RecipeError, match="makes 5 tokens of a record, its frozen teacher 6, and only tokens on grids"):
        learner([view_of(vectors())])
    with pytest.raises(RecipeError, match="compares tokens, and here are none"):
        learner_of("teacher-tokens", teacher=toys.MLP(toys.VectorModality()))


def test_what_is_missing_in_a_loop_of_ones_own_is_said():
    with pytest.raises(RecipeError, match=r"needs descriptors of each record: .* Learner\(\.\.\., descriptors="):
        Learner({"a": toys.MLP(toys.VectorModality())}, Regress())
    with pytest.raises(SensoriumError, match=r"not learned yet: call learner.fit"):
        learner_of(fitted=False)([view_of(vectors(), described(vectors()))])
    with pytest.raises(RecipeError, match=r"its views have none: .* transform.views\(batch, descriptors=rows\)"):
        learner_of()([view_of(vectors())])


def test_in_a_sum_each_tower_has_its_own_teacher_and_descriptors():
    towers = {"a": toys.MLP(toys.VectorModality()), "b": toys.MLP(toys.VectorModality())}
    teachers = {"a": Grid((2, 3), 7), "b": Grid((2, 3), 9)}
    terms = [sensorium.Term(sensorium.build("objective", "regress", targets="teacher", width=8), on=n) for n in "ab"]
    learner = Learner(towers, sensorium.Sum(terms), teachers=teachers)
    widths = [objective.head[-1].out_features for objective in learner.objective.parts.values()]
    assert widths == [7, 9]
