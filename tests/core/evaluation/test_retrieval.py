"""Retrieval against loops, chance against simulation, ties, many-to-many, missing modalities."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest

from sensorium import SensoriumError
from sensorium.errors import RecipeError
from sensorium.evaluation.retrieval import Retrieval, _expected
from sensorium.feature_table import ValueFeatures
from sensorium.neighbors import similarity
from tests.core.evaluation.tables_of_records import table


def metrics_of_order(order: list[bool], cutoffs=(1, 5, 10)) -> dict[str, float]:
    """The metrics of one query, from the list of which ranked targets are positives."""
    ranks = [r for r, right in enumerate(order, 1) if right]
    ideal = sum(1 / math.log2(i + 1) for i in range(1, min(len(ranks), 10) + 1))
    return {f"R@{k}": float(ranks[0] <= k) for k in cutoffs} | {
        "MRR": 1 / ranks[0],
        "nDCG@10": sum(1 / math.log2(r + 1) for r in ranks if r <= 10) / ideal,
        "MAP@R": sum(i / r for i, r in enumerate(ranks, 1) if r <= len(ranks)) / len(ranks),
        "mean rank ↓": float(ranks[0]),
        "median rank ↓": float(ranks[0]),
    }


def by_loops(records, query: str, target: str) -> dict[str, float]:
    """Sort in Python, negatives first among equals."""
    found = []
    for q in range(len(records)):
        targets = [t for t in range(len(records)) if records.present[target][t]]
        if not records.present[query][q] or not any(records.groups[t] == records.groups[q] for t in targets):
            continue
        x = records.features[query][q].astype(float)

        def key(t, x=x, q=q):
            y = records.features[target][t].astype(float)
            cosine = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
            return -round(cosine, 5), records.groups[t] == records.groups[q]

        order = [records.groups[t] == records.groups[q] for t in sorted(targets, key=key)]
        found.append(metrics_of_order(order))
    mean = {name: float(np.mean([f[name] for f in found])) for name in found[0]}
    mean["median rank ↓"] = float(np.median([f["median rank ↓"] for f in found]))
    return {f"{query}->{target} {name}": value for name, value in mean.items()}


def random_records(seed: int, count: int = 37, groups: int = 12, levels: int | None = None):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, count, 5))
    if levels:  # few distinct directions: many ties
        x, y = np.sign(x), np.sign(y)
        x[:, 2:], y[:, 2:] = 1, 1
    present = {"a": rng.random(count) > 0.2, "b": rng.random(count) > 0.2}
    return table({"a": x, "b": y}, groups=[f"g{g}" for g in rng.integers(0, groups, count)], present=present)


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("block", [2**23, 50])
@pytest.mark.parametrize("seed", range(4))
def test_equals_loops_many_to_many_with_ties_and_absent_values(seed, block, levels, monkeypatch):
    monkeypatch.setattr(similarity, "MAX_SIMILARITIES", block)  # 50: a row or two at a time
    records = random_records(seed, levels=levels)
    evaluator = Retrieval()
    wanted = by_loops(records, "a", "b") | by_loops(records, "b", "a")
    assert evaluator.measure(records) == pytest.approx(wanted, abs=1e-9)


def test_counts_the_queries_it_leaves_out():
    x = np.eye(4)
    present = {"b": np.array([True, True, False, False])}
    evaluator = Retrieval("a", "b")
    assert evaluator.measure(table({"a": x, "b": x}, present=present))["a->b R@1"] == 1.0
    assert evaluator.notes() == ["a->b: 2 queries without a positive excluded"]
    assert evaluator.measure(table({"a": x, "b": x}))["a->b R@1"] == 1.0
    assert evaluator.notes() == []


def test_a_collapsed_encoder_ranks_last():
    ones = np.ones((20, 6)) + np.random.default_rng(0).normal(size=(20, 6)) * 1e-8
    metrics = Retrieval("a", "b").measure(table({"a": ones, "b": ones}))
    assert metrics["a->b median rank ↓"] == 20
    assert metrics["a->b R@10"] == 0


def test_zero_rows_are_similar_to_nothing():
    x = np.eye(5)
    x[0] = 0
    metrics = Retrieval("a", "b").measure(table({"a": x, "b": np.eye(5)}))
    assert metrics["a->b R@1"] == pytest.approx(0.8)


def test_huge_features_do_not_overflow():
    x = np.random.default_rng(0).normal(size=(30, 4))
    assert Retrieval("a", "b").measure(table({"a": x * 1e30, "b": x * 1e-30}))["a->b R@1"] == 1.0


@pytest.mark.parametrize("counts", [[1] * 7, [2, 2, 5], [13], [1, 3, 3, 12]])
def test_chance_equals_simulation(counts):
    rng = np.random.default_rng(1)
    draws = []
    for _ in range(6000):
        right = counts[rng.integers(len(counts))]
        draws.append(metrics_of_order(list(rng.permutation([True] * right + [False] * (13 - right)))))
    wanted = _expected(13, np.array(counts), (1, 5, 10))
    for name in ("R@1", "R@5", "R@10", "MRR", "nDCG@10", "MAP@R", "mean rank ↓"):
        values = [draw[name] for draw in draws]
        assert np.mean(values) == pytest.approx(wanted[name], abs=4.5 * np.std(values) / 6000**0.5 + 1e-9), name
    assert abs(np.median([draw["median rank ↓"] for draw in draws]) - wanted["median rank ↓"]) <= 1


def test_chance_of_one_right_target_is_textbook():
    chance = _expected(1000, np.ones(5, int), (1, 5, 10))
    assert chance["R@1"] == pytest.approx(0.001)
    assert chance["R@10"] == pytest.approx(0.01)
    assert chance["MRR"] == pytest.approx(sum(1 / r for r in range(1, 1001)) / 1000)
    assert chance["median rank ↓"] == 500


def test_random_features_score_chance_and_a_planted_signal_beats_it():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 16))
    noise, signal = table({"a": x, "b": rng.normal(size=x.shape)}), table({"a": x, "b": x + rng.normal(size=x.shape)})
    evaluator = Retrieval()
    chance = evaluator.chance(noise)
    assert evaluator.measure(noise)["a->b R@10"] == pytest.approx(chance["a->b R@10"], abs=0.03)
    assert evaluator.measure(signal)["b->a R@10"] > 10 * chance["b->a R@10"]
    assert set(chance) == set(evaluator.measure(signal))


def test_all_pairs_stand_in_one_matrix_each_behind_their_means():
    records = random_records(1)
    rng = np.random.default_rng(2)
    records.features["c"], records.present["c"] = (
        rng.normal(size=(len(records), 5)).astype(np.float32),
        records.present["a"],
    )
    evaluator = Retrieval(pairs="all", cutoffs=(1, 5))
    metrics = evaluator.measure(records)
    single = {}
    for query, target in permutations("abc", 2):
        single |= Retrieval(query, target, cutoffs=(1, 5)).measure(records)
    names = ["R@1", "R@5", "mean rank ↓", "median rank ↓"]
    assert {key: value for key, value in metrics.items() if "->" in key} == {
        key: value for key, value in single.items() if key.partition(" ")[2] in names
    }
    for name in names:
        of_pairs = [value for key, value in metrics.items() if key.endswith(f" {name}") and "->" in key]
        assert len(of_pairs) == 6
        assert metrics[name] == pytest.approx(np.mean(of_pairs))
    assert set(evaluator.chance(records)) == set(metrics)
    assert evaluator.is_pairwise


def test_a_pair_without_records_is_named_and_the_others_are_measured():
    x = np.eye(4)
    present = {"c": np.array([False, False, False, True]), "b": np.array([True, True, True, False])}
    evaluator = Retrieval(pairs="all")
    metrics = evaluator.measure(table({"a": x, "b": x, "c": x}, present=present))
    assert {key.partition(" ")[0] for key in metrics if "->" in key} == {"a->b", "b->a", "a->c", "c->a"}
    assert [note for note in evaluator.notes() if "'b' and, in its group, 'c'" in note]
    with pytest.raises(SensoriumError, match="No pair of modalities has a record with both"):
        evaluator.measure(table({"b": x, "c": x}, present=present))
    with pytest.raises(SensoriumError, match="measures every query and target: leave them out"):
        Retrieval("a", pairs="all")


def test_positives_by_label_and_by_equal_value():
    x, y = np.eye(6), np.roll(np.eye(6), 1, axis=0)  # each query finds the target of another record first
    records = table({"a": x, "b": y}, {"kind": ["x", "x", "y", "y", None, None]})
    assert Retrieval("a", "b", positives="record").measure(records)["a->b R@1"] == 0
    by_label = Retrieval("a", "b", positives="label:kind").measure(records)["a->b R@1"]
    assert by_label == pytest.approx(2 / 6)  # of each label the one whose nearest target is of the other record
    records.contents = {
        "a": [(i,) for i in range(6)],
        "b": [("red",), ("red",), ("blue", "sky"), ("sky",), ("e",), ("f",)],
    }
    evaluator = Retrieval("a", "b", positives="value")
    assert evaluator.needs_contents
    assert evaluator.measure(records)["a->b R@1"] == pytest.approx(2 / 6)
    with pytest.raises(SensoriumError, match="no label 'kid', did you mean 'kind'"):
        Retrieval("a", "b", positives="label:kid").measure(records)
    with pytest.raises(SensoriumError, match=r"'positives' of 'retrieval' is 'values', did you mean 'value'\?"):
        Retrieval(positives="values")


def test_refuses_what_it_cannot_compare():
    x = np.eye(3)
    with pytest.raises(SensoriumError, match="Two modalities are needed"):
        Retrieval().measure(table({"a": x}))
    with pytest.raises(SensoriumError, match="no joint embedding space"):
        Retrieval().measure(table({"a": x, "b": x[:, :2]}))
    with pytest.raises(SensoriumError, match="different modalities"):
        Retrieval("a").measure(table({"a": x, "b": x}))
    with pytest.raises(SensoriumError, match="no features of 'imag' to compare, did you mean 'image'"):
        Retrieval("imag", "text").measure(table({"image": x, "text": x}))
    apart = {"a": np.array([True, False, False]), "b": np.array([False, True, True])}
    with pytest.raises(SensoriumError, match="no query has a positive"):
        Retrieval().measure(table({"a": x, "b": x}, present=apart))


def test_further_values_of_a_record_count_as_records_of_its_group_with_that_modality_alone():
    rng = np.random.default_rng(5)
    count = 20
    rows = np.sort(rng.integers(0, count, 45))  # captions beyond the first, of which a record may have none
    images, captions, further = rng.normal(size=(count, 6)), rng.normal(size=(count, 6)), rng.normal(size=(45, 6))
    records = table({"image": images, "text": captions})
    records.further = {"text": ValueFeatures(rows, further.astype(np.float32))}
    flat = table(
        {"image": np.concatenate([images, np.zeros((45, 6))]), "text": np.concatenate([captions, further])},
        groups=[*records.groups, *(records.groups[row] for row in rows)],
        present={"image": np.arange(65) < count},
    )
    for positives in ("group", "record"):
        found = Retrieval(positives=positives)
        expected = Retrieval()
        assert found.measure(records) == pytest.approx(expected.measure(flat))
        assert found.chance(records) == pytest.approx(expected.chance(flat))
    shuffled = rng.permutation(count)
    assert Retrieval().measure(records.select(shuffled)) == pytest.approx(Retrieval().measure(records))
    halves = records.select(np.arange(10)).join(records.select(np.arange(10, 20)))
    assert Retrieval().measure(halves) == pytest.approx(Retrieval().measure(records))


def test_any_caption_of_an_image_is_a_hit():
    records = table({"image": np.eye(3), "text": -np.eye(3)})
    records.further = {"text": ValueFeatures(np.array([0, 0, 2]), np.eye(3)[[1, 0, 2]].astype(np.float32))}
    metrics = Retrieval(cutoffs=(1,)).measure(records)
    assert metrics["image->text R@1"] == pytest.approx(2 / 3)  # of the second image, no caption is like it
    assert metrics["text->image R@1"] == pytest.approx(2 / 6)  # each caption is a query


def of_product(n=12, d=16):
    """Signs of three modalities, of which the third is the product of the others; one record lacks the second."""
    rng = np.random.default_rng(0)
    a, b = rng.choice([-1.0, 1.0], (2, n, d))
    present = {"b": np.arange(n) != 3}
    return table({"a": a, "b": b, "c": a * b}, present=present)


def test_a_query_of_several_modalities_is_their_mean_or_product():
    test = of_product()
    found = {c: Retrieval(["a", "b"], "c", combine=c).measure(test)["a+b->c R@1"] for c in ("mean", "product")}
    assert found["product"] == 1.0 > 0.6 > found["mean"]
    assert Retrieval("a", "c").measure(test)["a->c R@1"] < 0.6
    evaluator = Retrieval(["a", "b"], "c", combine="product")
    evaluator.measure(test)
    assert len(evaluator.predictions()["id"]) == 11  # one record lacks b
    assert evaluator.chance(test)["a+b->c R@1"] == pytest.approx(1 / 12)
    aligned = table({name: np.eye(5) for name in "abc"})
    assert Retrieval(["a", "b"], "c").measure(aligned)["a+b->c R@1"] == 1.0
    scaled = table({"a": 1e6 * np.eye(5), "b": -np.eye(5), "c": np.eye(5)})  # every modality weighs alike
    assert Retrieval(["a", "b"], "c").measure(scaled)["a+b->c R@1"] == 0.0


def test_queries_of_several_modalities_that_cannot_be_are_refused():
    for options, why in [
        ({"query": ["a"], "target": "b"}, "two modalities or more"),
        ({"query": ["a", "a"], "target": "b"}, "each once"),
        ({"query": ["a", "b"]}, "with the target None"),
        ({"query": ["a", "b"], "target": "a"}, "a target that is none of them"),
        ({"query": "a", "target": "b", "combine": "product"}, "'combine' of 'retrieval' has no effect"),
    ]:
        with pytest.raises(RecipeError, match=why):
            Retrieval(**options)
    with pytest.raises(SensoriumError, match="no joint embedding space"):
        Retrieval(["a", "b"], "c").measure(table({"a": np.eye(4), "b": np.eye(4)[:, :3], "c": np.eye(4)}))
    with pytest.raises(SensoriumError, match="'d'"):
        Retrieval(["a", "d"], "c").measure(table({name: np.eye(4) for name in "abc"}))
