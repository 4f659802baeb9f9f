"""Mistakes in the evaluators of a recipe are found on the keys of records alone."""

import numpy as np
import pytest

from sensorium import Record, Source
from sensorium.errors import DataError, RecipeError
from sensorium.evaluation.dry_run import EACH, KINDS, SPREAD, DryPart, dry_run, require_metric
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from tests import toys


class Keys(Source):
    """Records that have keys and no values that could be read."""

    fields = ("a", "b")

    def __init__(self, count, labels, group=lambda i: None, present=None):
        self.count, self.labels, self.group, self.masks = count, labels, group, present or {}

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        raise AssertionError("a dry run reads keys only")

    def key(self, index):
        return Record(f"r{index}", {}, self.labels(index), group=self.group(index))

    def present(self, field):
        return self.masks.get(field)


def metrics_of(evaluators, labels=lambda i: {"class": i % 3}, count=60, pair=False, **keys):
    make = toys.pair_recipe if pair else toys.recipe
    extensions = toys.extensions()
    plan = make_plan(read_recipe(make(evaluate={"evaluators": evaluators}), extensions.registry), extensions)
    source, half = Keys(count, labels, **keys), count // 2
    rows = {"train": np.arange(half), "test": np.arange(half, count)}
    return dry_run(plan, *(DryPart(source, positions, plan.fields, part) for part, positions in rows.items()))


def test_the_names_of_all_metrics_are_known():
    found = metrics_of({"knn": None, "health": None})
    assert found == {
        "knn": ["accuracy", "balanced accuracy", "macro-F1"],
        "health": ["a RankMe", "a std", "a uniformity ↓"],
    }


@pytest.mark.parametrize(
    ("evaluators", "pair", "sentence"),
    [
        ({"knn": {"label": "clas"}}, False, "no label 'clas', did you mean 'class'?"),
        ({"knn": {"modality": "image"}}, False, "no modality 'image'"),
        ({"knn": None}, True, "name the modality to evaluate"),
        ({"retrieval": None}, False, "two modalities are needed"),
        ({"retrieval": {"query": "a", "target": "c"}}, True, "no features of 'c'"),
        ({"perplexity": None}, False, "the objective 'simclr' does not give"),
        ({"knn": {"protocol": "kfolds"}}, False, "no evaluation protocol named 'kfolds', did you mean 'kfold'?"),
        ({"knn": {"protocol": {"name": "kfold", "folds": 100}}}, False, "100 folds need at least as many"),
        ({"knn": {"protocol": {"name": "leave-one-group-out", "by": "site"}}}, False, "no label 'site'"),
        ({"zero-shot": {"prompts": "c"}}, True, "no modality 'c'"),
        ({"zero-shot": {"templates": ["a photo"]}}, True, "a template of 'zero-shot' needs {}"),
        ({"multitask": None}, False, "'class' has 3 classes, a task has two"),
    ],
)
def test_a_mistake_is_named_with_its_evaluator(evaluators, pair, sentence):
    (name,) = evaluators
    of_an_option = sentence.startswith(("the option", "no evaluation protocol"))
    with pytest.raises(RecipeError if of_an_option else DataError) as error:
        metrics_of(evaluators, pair=pair)
    assert str(error.value).startswith(f"The evaluator '{name}' cannot measure these records: ")
    assert sentence in str(error.value)
    assert f"Correct evaluate.evaluators.{name}, or set" in str(error.value)


@pytest.mark.parametrize(
    ("evaluator", "option"),
    [
        ("anomaly", {"neighbors": 0}),
        ("knn", {"k": 0}),
        ("knn", {"temperature": 0.0}),
        ("linear", {"Cs": []}),
        ("linear", {"Cs": [1.0, -1.0]}),
        ("svm", {"Cs": [0.0]}),
        ("ridge", {"alphas": [-1.0]}),
        ("forest", {"trees": 0}),
        ("forecast", {"horizons": []}),
        ("multitask", {"Cs": []}),
        ("retrieval", {"cutoffs": [0]}),
        ("knn", {"protocol": {"name": "kfold", "folds": 1}}),
        ("knn", {"protocol": {"name": "kfold", "fold": 3}}),
    ],
)
def test_a_wrong_value_of_an_option_is_an_error_of_the_recipe(evaluator, option):
    with pytest.raises(RecipeError, match=f"The evaluator '{evaluator}' cannot measure") as error:
        metrics_of({evaluator: option})
    assert next(iter(option)) in str(error.value)


def test_a_test_part_of_one_class_is_refused_unless_a_protocol_cuts_the_parts_anew():
    labels = lambda i: {"class": i % 2 if i < 30 else 1}  # noqa: E731
    with pytest.raises(DataError, match="the test part has one class of the label 'class', 1"):
        metrics_of({"knn": None}, labels)
    assert metrics_of({"knn": {"protocol": {"name": "kfold", "folds": 2}}}, labels)


@pytest.mark.parametrize(
    ("evaluator", "labels", "sentence"),
    [
        ("knn", lambda i: {"class": 1}, "one class"),
        ("ridge", lambda i: {"y": "many" if i == 77_777 else i / 7}, "'many', which is not a number"),
        ("ridge", lambda i: {"y": 1.5}, "the same numeric label"),
    ],
)
def test_one_record_of_many_thousands_is_not_overlooked(evaluator, labels, sentence):
    with pytest.raises(DataError, match=sentence):
        metrics_of({evaluator: None}, labels, count=100_000)


@pytest.mark.parametrize(
    ("evaluator", "keys"),
    [
        ({"knn": None}, {"labels": lambda i: {"class": int(i % 50_000 == 7)}}),  # two records of the second class
        ({"knn": {"label": "rare"}}, {"labels": lambda i: {"rare": i % 2} if i % 25_000 < 2 else {}}),
        (
            {"knn": {"protocol": {"name": "kfold"}}},
            {"labels": lambda i: {"y": i % 2}, "group": lambda i: f"g{i // 5_000}"},
        ),
        ({"forecast": None}, {"labels": lambda i: {"ahead 1": 1.0 * i, "ahead 2": 2.0 * i if i % 5_000 < 2 else None}}),
        (
            {"anomaly": {"neighbors": 20}},
            {"labels": lambda i: {"odd": int(i % 9_999 == 3)}, "group": lambda i: f"{i // 50_000}"},
        ),
        ({"multitask": None}, {"labels": lambda i: {f"t{k}": int(i % 30_000 == k) for k in range(3)}}),
    ],
)
def test_a_sample_has_records_of_every_kind_so_that_nothing_valid_is_refused(evaluator, keys):
    assert metrics_of(evaluator, count=100_000, **keys)


def test_pairs_across_the_records_of_a_group_are_found():
    rare = np.arange(100_000) % 20_000
    present = {"a": rare != 5, "b": (rare >= 4) & (rare < 6)}
    assert metrics_of({"retrieval": None}, count=100_000, pair=True, present=present, group=lambda i: f"g{i // 10}")


def test_a_sample_is_small_whatever_the_labels_are():
    source = Keys(50_000, lambda i: {"number": i / 3, "class": i % 1000, "name": f"n{i}"})
    sample = DryPart(source, np.arange(50_000), {"a": "a"}, "train")
    assert len(sample.positions) < SPREAD + 3 * (KINDS + 1) * EACH + 10


def test_the_best_checkpoint_is_by_a_metric_that_there_is():
    require_metric("knn/accuracy", "checkpoint.best", {"knn": ["accuracy"]})
    with pytest.raises(RecipeError, match="'knn/acuracy', which no evaluator measures, did you mean 'knn/accuracy'"):
        require_metric("knn/acuracy", "checkpoint.best", {"knn": ["accuracy", "macro-F1"]})
    with pytest.raises(RecipeError, match="there are: none"):
        require_metric("knn/accuracy", "checkpoint.best", {})
