"""The attentive probe: what attention finds, the grid, and that no choice sees the test part."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sensorium.errors import RecipeError, SensoriumError
from sensorium.evaluation.attention_probes import AttentionProbes, CachedTokens, outputs_of
from sensorium.evaluation.attention_training import AdamW, Schedule, Task, accuracy, cross_entropy, r2
from sensorium.evaluation.attentive import Attentive
from sensorium.evaluation.linear import Linear
from sensorium.evaluation.runner import ModelFeatures, evaluate_models
from sensorium.feature_table import FeatureTable


def table(count, prefix, seed=0, numbers=False, width=8, tokens=6):
    """Records of two to six tokens, of which a marked one tells the class and the others tell another, larger."""
    rng = np.random.default_rng((seed, count))
    y, other = rng.permutation(np.arange(count) % 3), rng.integers(0, 3, count)
    x_NTD = rng.normal(size=(count, tokens, width)).astype(np.float32)
    x_NTD[..., :3] += 3 * np.eye(3, dtype=np.float32)[other][:, None]
    lengths, rows = rng.integers(2, tokens + 1, count), np.arange(count)
    at = rng.integers(0, lengths)
    x_NTD[rows, at, :3] = 3 * np.eye(3)[y]
    x_NTD[rows, at, 3] += 8
    x_NTD *= np.linspace(0.5, 40, width, dtype=np.float32)
    x_NTD[np.arange(tokens) >= lengths[:, None]] = np.nan
    labels = np.empty(count, object)
    labels[:] = (y + 0.5).tolist() if numbers else [f"c{one}" for one in y]
    ids = [f"{prefix}{n}" for n in range(count)]
    return FeatureTable(ids, {"a": x_NTD.astype(np.float16)}, {"a": np.ones(count, bool)}, {"y": labels}, ids)


def fitted(train, val=None, **options):
    evaluator = Attentive(**({"lrs": (0.001, 0.01), "weight_decays": (0.01,)} | options))
    evaluator.val = val
    evaluator.fit(train)
    return evaluator


@pytest.mark.parametrize("numbers", [False, True])
def test_attention_finds_the_token_that_tells_where_a_mean_does_not(numbers):
    train, val, test = (table(n, p, numbers=numbers) for n, p in ((240, "r"), (90, "v"), (120, "t")))
    evaluator = fitted(train, val)
    found, chance = evaluator.measure(test), evaluator.chance(test)
    if numbers:
        assert found["R2"] > 0.5
        assert chance["R2"] < 0.05
        return
    assert found["accuracy"] > 0.8
    means = [replace(t, features={"a": np.nanmean(t.features["a"].astype(np.float32), axis=1)}) for t in (train, test)]
    linear = Linear(Cs=(0.1,))
    linear.fit(means[0])
    assert linear.measure(means[1])["accuracy"] < 0.65


def test_what_is_computed_is_attention_of_queries_over_keys_and_values():
    """Against keys and values that are computed, one record and one head after the other (AIM)."""
    width, heads, queries, count, outputs = 6, 3, 2, 2, 4
    probes = AttentionProbes(
        width, outputs, heads, queries, count, torch.Generator().manual_seed(0), torch.device("cpu")
    )
    for weight in probes.weights():
        torch.nn.init.normal_(weight)
    x, mask = torch.randn(2, 5, width), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    found = probes(x.masked_fill(~mask[..., None], 0.0), mask)
    for b, length in enumerate((5, 3)):
        for g in range(count):
            pooled = torch.zeros(heads, width // heads)
            for q in range(queries):
                for a in range(heads):
                    keys = x[b, :length] @ probes.key_GDAE[g, :, a]
                    values = x[b, :length] @ probes.value_GDAE[g, :, a]
                    attention = (keys @ probes.query_GQAE[g, q, a] / math.sqrt(width // heads)).softmax(0)
                    pooled[a] += attention @ values / queries
            expected = pooled.flatten() @ probes.linear_GDC[g] + probes.bias_GC[g]
            torch.testing.assert_close(found[b, g], expected, rtol=1e-4, atol=1e-4)


def test_padding_changes_nothing():
    made = []
    for padding in (0, 4):
        train, test = (table(n, p) for n, p in ((60, "r"), (30, "t")))
        for part in (train, test):
            wide = ((0, 0), (0, padding), (0, 0))
            part.features["a"] = np.pad(part.features["a"], wide, constant_values=np.nan)
        evaluator = fitted(train, lrs=(0.01,))
        made.append(evaluator.probe.scores(test.features["a"]))
    np.testing.assert_allclose(made[0], made[1], rtol=1e-3, atol=1e-4)


def task_of(train, epochs=2):
    y = torch.tensor([int(value[1]) for value in train.labels["y"]])
    tokens = CachedTokens(train.features["a"], torch.device("cpu"))
    tokens.statistics = tokens.measured()

    def new(count):
        return AttentionProbes(8, 3, 4, 1, count, torch.Generator().manual_seed(0), torch.device("cpu"))

    schedule = Schedule(6, (6,))
    return Task(tokens, y, cross_entropy, accuracy, schedule, new, seed=0)


def test_probes_of_the_grid_learn_as_each_alone_would():
    train = table(60, "r")
    task, lrs, decays = task_of(train), torch.tensor([0.01, 0.001]), torch.tensor([0.0, 0.3])
    weight_NG = torch.ones(60, 2)
    weight_NG[:20, 0] = 0
    together = task.new(2)
    task.train(together, lrs, decays, weight_NG)
    for g in range(2):
        alone = task.new(1)
        task.train(alone, lrs[g : g + 1], decays[g : g + 1], weight_NG[:, g : g + 1])
        for one, both in zip(alone.weights(), together.weights(), strict=True):
            torch.testing.assert_close(one[0], both[g], rtol=1e-4, atol=1e-6)


def test_its_optimizer_is_adamw():
    torch.manual_seed(0)
    weight = torch.randn(2, 3)
    mine = [weight.clone().requires_grad_()]
    theirs = [weight[g].clone().requires_grad_() for g in range(2)]
    lrs, decays = (0.1, 0.01), (0.0, 0.4)
    optimizer = AdamW(mine, torch.tensor(lrs), torch.tensor(decays))
    others = [torch.optim.AdamW([theirs[g]], lr=lrs[g], weight_decay=decays[g]) for g in range(2)]
    for step in range(5):
        goal = torch.randn(3, generator=torch.Generator().manual_seed(step))
        (mine[0] - goal).square().sum().backward()
        optimizer.step(0.5)
        for g, other in enumerate(others):
            (theirs[g] - goal).square().sum().backward()
            other.param_groups[0]["lr"] = 0.5 * lrs[g]
            other.step()
            other.zero_grad()
    torch.testing.assert_close(mine[0].detach(), torch.stack(theirs).detach())


def test_tokens_are_standardized_by_the_valid_ones_of_the_train_part():
    x = table(80, "r").features["a"]
    mean_D, std_D = CachedTokens(x, torch.device("cpu")).measured()
    flat = x.astype(np.float64).reshape(-1, x.shape[2])
    flat = flat[~np.isnan(flat[:, 0])]
    np.testing.assert_allclose(mean_D, flat.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(std_D, flat.std(0), rtol=1e-4)


def test_the_choice_never_sees_the_test_part():
    train, val, test, other = table(90, "r"), table(45, "v"), table(45, "t"), table(45, "t", seed=9)
    notes = []
    for parts in ((train, test), (train, other)):
        model = ModelFeatures({"tokens": parts}, val={"tokens": val})
        make = lambda: Attentive(lrs=(0.001, 0.01), weight_decays=(0.1,))  # noqa: E731
        made = evaluate_models({"attentive": make}, {"trained": [model]})["attentive"]
        notes.append([note for note in made.row("trained").notes if note.startswith("learning rate")])
    assert notes[0] == notes[1]
    assert "on 45 records of val" in notes[0][0]


def test_without_val_the_choice_is_on_folds_and_the_probe_learns_from_all_records():
    train = table(60, "r")
    evaluator = fitted(train)
    (note,) = evaluator.notes()
    assert "of 5 folds" in note
    single = fitted(train, lrs=(0.01,))
    assert single.notes() == ["learning rate 0.01, weight decay 0.01, 100 steps"]


def test_few_labels_and_classes_that_only_val_has_do_no_harm():
    train, val, test = table(90, "r"), table(30, "v"), table(60, "t")
    train.labels["y"][12:] = None
    val.labels["y"][0] = "unknown"
    evaluator = fitted(train, val)
    assert "on 29 records of val" in evaluator.notes()[0]
    assert 0 <= evaluator.measure(test)["accuracy"] <= 1
    train.labels["y"][3:] = None
    with pytest.raises(SensoriumError, match=r"train part \(3 records\) is too small to choose on folds"):
        fitted(train)


def test_no_tokens_and_heads_that_do_not_divide_say_what_to_do():
    train = table(30, "r")
    with pytest.raises(SensoriumError, match=r"No encoder here returns tokens, which attention pools: .* 'linear'"):
        Attentive().fit(replace(train, features={}, present={}))
    with pytest.raises(RecipeError, match="has 3 heads, which do not divide the width 8 of the tokens"):
        fitted(train, heads=3)
    assert [Attentive().heads_of(width) for width in (768, 192, 64, 7, 13)] == [12, 12, 8, 7, 1]


def test_r2_of_the_mean_is_zero():
    y = torch.tensor([1.0, 2.0, 3.0])
    assert r2(torch.full((3, 1, 1), 2.0), y).tolist() == [0.0]


def test_the_schedule_rises_then_falls_to_zero():
    schedule = Schedule.of(1000, 20)
    assert schedule.steps == 160
    factors = [schedule.factor(step) for step in range(schedule.steps)]
    assert max(factors) == factors[15] == 1.0
    assert factors[0] == pytest.approx(1 / 16)
    assert factors[-1] < 0.001
    assert schedule.checks[-1] == 160
    assert len(schedule.checks) == 20


def test_outputs_of_rows_are_those_of_all():
    train = table(30, "r")
    task = task_of(train)
    probes = task.new(2)
    torch.nn.init.normal_(probes.weights()[3])
    rows = np.array([4, 2, 9])
    torch.testing.assert_close(outputs_of(probes, task.tokens, rows), outputs_of(probes, task.tokens)[rows])
