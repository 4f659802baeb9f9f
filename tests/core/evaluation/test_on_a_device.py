"""Evaluation on an emulated device: nothing is on another one, and the host waits once a column, not once a batch."""

import numpy as np
import pytest
import torch

from sensorium.api.models import open_run
from sensorium.evaluation.features import BaselineReader, ModelReader, read_features
from sensorium.evaluation.linear import Linear
from sensorium.evaluation.multitask import Multitask
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.mining.hard_negatives import mine_negatives
from sensorium.mining.options import MiningOptions
from sensorium.testing.emulation import Emulation, emulated_device, table
from tests import toys
from tests.core.evaluation.tables_of_records import blobs

EVALUATORS = {
    "retrieval": {"name": "retrieval", "positives": "record"},
    "knn": {"name": "knn", "label": "class", "modality": "a", "k": 5},
    "linear": {"name": "linear", "label": "class", "modality": "b"},
    "modality-gap": {"name": "modality-gap"},
    "health": {"name": "health"},
    "health of embeddings": {"name": "health", "space": "embedding"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toys.train_pairs(tmp_path_factory.mktemp("runs") / "pairs")


def opened(run):
    model, plan, records = open_run(
        run, (), "final", toys.incomplete_pairs(), toys.extensions(), EVALUATORS, torch.device("cpu"), {}
    )
    return model, RunEvaluation(plan, records, model.run)


def metrics(tables):
    return {
        (name, row.name, metric): value.mean
        for name, found in tables.items()
        for row in found.rows
        for metric, value in row.metrics.items()
    }


def test_tables_of_a_device_are_those_of_the_cpu(run):
    model, evaluation = opened(run)
    wanted = metrics(evaluation.on_test(model))
    with Emulation():
        model.to(emulated_device())
        found = metrics(evaluation.on_test(model))
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert found[key] == pytest.approx(value, rel=1e-4, abs=1e-4), key


def test_the_host_waits_once_a_column_and_not_once_a_batch(run):
    model, evaluation = opened(run)
    readers = [ModelReader(model, ["features", "embedding"]), BaselineReader(evaluation.plan.modalities)]
    with Emulation() as emulation:
        model.to(emulated_device())
        counts = []
        for part in ("test", "train"):
            emulation.synchronizations.clear()
            rows = read_features(evaluation.reader.batches(part, model.device), readers)
            counts.append(len(emulation.synchronizations))
            assert len(rows.positions) > 1
    assert counts == [4, 4], table(emulation.synchronizations)  # two modalities in two spaces


def test_mining_on_a_device_finds_what_the_cpu_finds(run):
    model, evaluation = opened(run)
    features = evaluation.table(model, "train", "embedding")
    wanted = mine_negatives(features, "a", "b", MiningOptions(margin=0.0))
    with Emulation():
        found = mine_negatives(features, "a", "b", MiningOptions(margin=0.0), device=emulated_device())
    assert (found.queries, found.negatives) == (wanted.queries, wanted.negatives)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-6)


@pytest.mark.parametrize("evaluator", [Linear(), Multitask()])
def test_probes_wait_once_an_iteration(evaluator):
    train, test = blobs(60, classes=2), blobs(40, classes=2, seed=1, prefix="t")
    evaluator.Cs = (1.0,)
    with Emulation() as emulation:
        evaluator.device = emulated_device()
        evaluator.fit(train)
        model = getattr(evaluator, "model", None) or evaluator.models["kind"]
        waits, iterations = len(emulation.synchronizations), model.iterations
        found = evaluator.measure(test)
    assert waits <= 2 * iterations + 4, table(emulation.synchronizations)  # a line search may ask twice
    evaluator.device = torch.device("cpu")
    evaluator.fit(train)
    assert found == pytest.approx(evaluator.measure(test), abs=1e-6)
