"""Targets, losses, predictions and metrics of supervised tasks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from sensorium import SensoriumError, to_device
from sensorium.finetuning.linear_probe import linear_probe
from sensorium.finetuning.tasks import Classification, MultitaskClassification, Regression, make_task
from sensorium.models.makers import maker
from sensorium.recipe.schema import Finetune
from sensorium.registration.discovery import load_extensions
from sensorium.testing.emulation import Emulation, emulated_device
from tests.core.evaluation.tables_of_records import table

NAN = math.nan
MAKERS = [
    lambda: Classification("y", "a"),
    lambda: MultitaskClassification(["y"], "a"),
    lambda: Regression("y", "a"),
]


def labeled(outputs, **labels):
    return table({"a": np.array(outputs, np.float32)}, labels, prefix=str(len(outputs)))


def fitted(task, **labels):
    task.fit(labeled(np.zeros((len(next(iter(labels.values()))), 1)), **labels))
    return task


def test_classes_are_numbered_by_name_and_those_outside_train_are_no_target():
    task = fitted(Classification("kind", "a"), kind=["dog", "cat", None, "dog"])
    assert task.output_dim == 2
    assert [task.target({"kind": name})[0] for name in ("cat", "dog")] == [0, 1]
    assert all(math.isnan(task.target(labels)[0]) for labels in ({"kind": "fox"}, {"kind": None}, {}))
    outputs = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    expected = -(torch.log_softmax(outputs, 1)[0, 0] + torch.log_softmax(outputs, 1)[1, 1]) / 2
    assert torch.allclose(task.loss(outputs, torch.tensor([[0.0], [1.0], [NAN]])), expected)
    assert task.measure(labeled([[2, 0], [0, 1], [1, 0]], kind=["cat", "dog", "fox"]))["accuracy"] == pytest.approx(
        2 / 3
    )
    assert task.to_prediction(np.array([0.0, 0.0], np.float32)) == {"cat": 0.5, "dog": 0.5}


def test_multitask_ignores_missing_labels():
    columns = {"p": [0, 1, 1, None], "q": ["no", None, "yes", "no"], "one": [1, 1, 1, 1]}
    task = fitted(MultitaskClassification(None, "a"), **columns)
    assert task.output_dim == 3
    assert task.target({"p": 1, "q": "no"})[:2] == [1, 0]
    assert math.isnan(task.target({"p": 1, "one": 1})[2]), "the train part has one class"
    outputs = torch.tensor([[0.3, -1.0, 9.0], [2.0, 0.5, 9.0]])
    targets = torch.tensor([[1.0, NAN, NAN], [0.0, 1.0, NAN]])
    plain = [
        -math.log(1 / (1 + math.exp(-0.3))),
        -math.log(1 - 1 / (1 + math.exp(-2))),
        -math.log(1 / (1 + math.exp(-0.5))),
    ]
    assert task.loss(outputs, targets).item() == pytest.approx(sum(plain) / 3, rel=1e-5)
    outputs = np.random.default_rng(0).normal(size=(6, 3))
    y, q = [0, 1, 0, 1, 1, 0], ["yes", None, "no", None, "yes", "no"]
    got = task.measure(labeled(outputs, p=y, q=q, one=[1] * 6))["ROC-AUC"]
    known = [0, 2, 4, 5]
    areas = [roc_auc_score(y, outputs[:, 0]), roc_auc_score([1, 0, 1, 0], outputs[known, 1])]
    assert got == pytest.approx(np.mean(areas))


def test_regression_targets_are_standardized_and_predictions_are_not():
    task = fitted(Regression("size", "a"), size=[10.0, 30.0, None])
    assert (task.mean, task.std) == (20.0, 10.0)
    assert task.target({"size": 40}) == [2.0]
    assert math.isnan(task.target({})[0])
    assert task.loss(torch.tensor([[1.0], [7.0]]), torch.tensor([[2.0], [NAN]])).item() == 1.0
    assert task.measure(labeled([[1.0], [-1.0]], size=[30.0, 12.0]))["RMSE ↓"] == pytest.approx(math.sqrt(2))
    assert task.to_prediction(np.array([0.5], np.float32)) == 25.0
    as_text = fitted(Regression("size", "a"), size=["10.0", "30", None])  # of a column that one cell makes text
    assert (as_text.mean, as_text.target({"size": "40"})) == (20.0, [2.0])
    with pytest.raises(SensoriumError, match="'size' has the value '>10', which is not a number: write a number"):
        as_text.target({"size": ">10"})


@pytest.mark.parametrize("make", MAKERS)
def test_a_batch_without_labels_costs_nothing_and_has_a_gradient(make):
    task = fitted(make(), y=[0, 1, 1])
    outputs = torch.randn(3, task.output_dim, requires_grad=True)
    loss = task.loss(outputs, torch.full((3, 1), NAN))
    loss.backward()
    assert loss.item() == 0
    assert outputs.grad.abs().sum() == 0


@pytest.mark.parametrize("make", MAKERS)
def test_state_is_restored(make):
    task, other = fitted(make(), y=[3, 5, 5]), make()
    other.load_state(task.state())
    outputs = np.array([0.5, -1.0][: task.output_dim], np.float32)
    assert other.to_prediction(outputs) == task.to_prediction(outputs)
    assert other.target({"y": 5}) == task.target({"y": 5})


def made(**options):
    options = Finetune.model_validate(options)
    make = maker(load_extensions({}, []).registry, "tasks", options.task, "finetune.task")
    return make_task(make, options, "a", ["p", "q"])


def test_a_task_of_one_label_needs_its_name():
    with pytest.raises(SensoriumError, match=r"has one label, but there are 2 \(p, q\): set finetune.labels"):
        made()
    assert isinstance(made(task="multitask"), MultitaskClassification)
    assert made(task="regression", labels=["q"]).label == "q"


@pytest.mark.parametrize("make", MAKERS)
def test_losses_on_a_device_wait_for_nothing_and_ignore_missing_labels(make):
    task = make()
    targets = torch.tensor([[1.0], [float("nan")], [0.0], [1.0]])
    outputs = torch.randn(4, 2 if isinstance(task, Classification) else 1, generator=torch.Generator().manual_seed(0))
    known = [0, 2, 3]
    wanted = task.loss(outputs[known], targets[known])
    with Emulation() as emulation:
        on_device = outputs.to(emulated_device()).requires_grad_()
        emulation.synchronizations.clear()
        loss = task.loss(on_device, *to_device([targets], emulated_device()))
        loss.backward()
        assert not emulation.synchronizations
        assert loss.item() == pytest.approx(wanted.item())
        gradient = on_device.grad.cpu()
    assert gradient.isfinite().all()
    assert not gradient[1].any()


@pytest.mark.parametrize("make", MAKERS)
def test_the_linear_probe_of_a_task_predicts_its_labels(make):
    task = fitted(make(), y=[0, 1, 1])
    rng = np.random.default_rng(0)
    y_N = np.arange(60) % 2
    x_ND = rng.normal(size=(60, 4)).astype(np.float32) * 100 + np.outer(y_N, [300, 0, 0, 0]).astype(np.float32)
    targets_NL = np.array([task.target({"y": int(y)}) for y in y_N])
    targets_NL[::7] = NAN
    probe = linear_probe(task, x_ND, targets_NL, [str(row) for row in range(60)], 0, torch.device("cpu"))
    outputs_NK = probe.outputs(x_ND)
    assert outputs_NK.shape == (60, task.output_dim)
    assert abs(np.corrcoef(outputs_NK[:, -1], y_N)[0, 1]) > 0.8
    assert task.is_better(*(sorted([0.1, 0.2], reverse=not task.is_regression)))


def test_the_probe_of_a_class_that_no_record_has_predicts_it_never():
    task = fitted(Classification("y", "a"), y=["a", "b", "c"])
    x_ND, targets_NL = np.eye(4, dtype=np.float32).repeat(5, 0), np.array([0, 0, 2, 2] * 5, float)[:, None]
    probe = linear_probe(task, x_ND, targets_NL, [str(row) for row in range(20)], 0, torch.device("cpu"))
    assert not (probe.outputs(x_ND).argmax(1) == 1).any()
    one = linear_probe(task, x_ND, np.zeros((20, 1)), [str(row) for row in range(20)], 0, torch.device("cpu"))
    assert (one.outputs(x_ND).argmax(1) == 0).all()
    assert one.about == "one class"


def test_several_labels_of_one_class_each_are_no_task():
    with pytest.raises(SensoriumError, match="No label of x, y has two classes in the train part"):
        fitted(MultitaskClassification(None, "a"), x=[1, 1, None], y=["no", "no", "no"])
    task = fitted(MultitaskClassification(None, "a"), x=[1, "unknown", 1], y=["no", "no", "no"])
    assert task.positive == {"x": "unknown"}


def test_sentences_name_the_keys_of_finetune():
    continuous = labeled(np.zeros((8, 1)), y=[number + 0.5 for number in range(8)])
    with pytest.raises(SensoriumError, match=r"'y' is continuous: .* Set finetune\.task=regression, or give classes\."):
        Classification("y", "a").fit(continuous)
    with pytest.raises(SensoriumError, match=r"'y' has 8 classes, a task has two: name the others by finetune\.labels"):
        MultitaskClassification(["y"], "a").fit(continuous)
