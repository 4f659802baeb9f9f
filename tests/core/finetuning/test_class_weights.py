"""Weights of classes: in the loss, in the linear probe, in the forest of the baseline."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from sensorium.errors import RecipeError
from sensorium.feature_table import FeatureTable
from sensorium.finetuning.baseline import forest_outputs
from sensorium.finetuning.tasks import Classification, MultitaskClassification
from sensorium.registration.options import check_options

NAMES = ["rare"] * 4 + ["often"] * 36


def table(**labels):
    count = len(next(iter(labels.values())))
    ids = [str(i) for i in range(count)]
    columns = {name: np.array(values, object) for name, values in labels.items()}
    return FeatureTable(ids, {"a": np.zeros((count, 1), np.float32)}, {"a": np.ones(count, bool)}, columns, ids)


def classification(class_weights):
    task = Classification("y", "a", class_weights)
    task.fit(table(y=NAMES))
    return task


def test_balanced_weights_are_those_of_scikit_learn():
    expected = compute_class_weight("balanced", classes=np.array(["often", "rare"]), y=np.array(NAMES))
    task = classification("balanced")
    np.testing.assert_allclose(task.weight_K, expected)
    assert task.metric == "balanced accuracy", "the best epoch is that of all classes alike"
    assert classification(None).metric == "accuracy"


def test_the_loss_is_the_weighted_cross_entropy_over_known_labels():
    task = classification({"rare": 5.0})
    outputs_BK, targets_BL = torch.randn(3, 2), torch.tensor([[0.0], [1.0], [float("nan")]])
    expected = F.cross_entropy(outputs_BK[:2], torch.tensor([0, 1]), torch.tensor([1.0, 5.0]))
    torch.testing.assert_close(task.loss(outputs_BK, targets_BL), expected)
    assert float(task.loss(outputs_BK, torch.full((3, 1), torch.nan))) == 0


def test_the_multitask_loss_weighs_the_positives_of_each_column():
    task = MultitaskClassification(None, "a", {"p": 3.0})
    task.fit(table(p=[0, 1] * 4, q=[0, 1, None, 1] * 2))
    outputs_BK, targets_BL = torch.randn(2, 2), torch.tensor([[1.0, 0.0], [0.0, float("nan")]])
    losses = F.binary_cross_entropy_with_logits(outputs_BK, targets_BL.nan_to_num(), reduction="none")
    expected = (3 * losses[0, 0] + losses[0, 1] + losses[1, 0]) / 5
    torch.testing.assert_close(task.loss(outputs_BK, targets_BL), expected)
    balanced = MultitaskClassification(None, "a", "balanced")
    balanced.fit(table(p=[0] * 6 + [1] * 2, q=[0, 1] * 4))
    np.testing.assert_allclose(balanced.weight_L2, [[8 / 12, 2.0], [1.0, 1.0]])


def test_the_forest_learns_with_the_same_weights():
    """Two records of each class at one point: what weighs more wins there."""
    x_ND, y_NL = np.zeros((4, 1), np.float32), np.array([[0.0], [0.0], [1.0], [1.0]])
    for name, winner in (("0", 0), ("1", 1)):
        task = Classification("y", "a", {name: 50.0})
        task.fit(table(y=["0", "0", "1", "1"]))
        outputs_MK = forest_outputs(task, x_ND, y_NL, x_ND[:1], n_estimators=20, random_state=0)
        assert outputs_MK.argmax() == winner


def test_names_and_numbers_that_fit_nothing_are_told():
    labels = {"y": np.array(NAMES, object)}
    with pytest.raises(RecipeError, match=r"names 'rar', which is no class of 'y', did you mean 'rare'"):
        Classification("y", "a", {"rar": 2.0}).check_labels(labels)
    with pytest.raises(RecipeError, match="names 'z', which is no label of the task"):
        MultitaskClassification(None, "a", {"z": 2.0}).check_labels(labels)
    with pytest.raises(RecipeError, match="has 0 for 'rare': a weight is above 0"):
        Classification("y", "a", {"rare": 0.0})


@pytest.mark.parametrize("weights", [{"true": 5.0}, {"True": 5.0}, {True: 5.0}])
def test_classes_that_are_true_and_false_have_the_names_of_yaml(weights):
    given = check_options(Classification, {"class_weights": weights}, "finetune.task", ("label", "modality"))
    task = Classification("y", "a", **given)
    task.check_labels({"y": np.array([True, False, None], object)})
    task.fit(table(y=[True, False, True, False]))
    assert dict(zip(task.classes, task.weight_K.tolist(), strict=True)) == {True: 5.0, False: 1.0}
