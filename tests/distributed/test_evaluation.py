"""Evaluation on several ranks: each embeds its slice, and what they measure together is what one process measures."""

import numpy as np
import pytest

import sensorium
from sensorium.errors import EvaluationError, SensoriumError
from sensorium.evaluation.part_reader import PartReader
from tests import toys
from tests.distributed.ranks import on_ranks

EVALUATORS = {
    "retrieval": {"positives": "record"},
    "knn": {"label": "class", "modality": "a", "k": 5},
    "health": {},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = toys.train_pairs(tmp_path_factory.mktemp("runs") / "pairs")
    changes = [f"evaluate.evaluators.{name}={options}" for name, options in EVALUATORS.items()]
    return folder, [change.replace("'", "") for change in changes]


def used(run, out):
    """What every command that embeds a source gives."""
    folder, changes = run
    known = {"source": toys.incomplete_pairs(), "extensions": toys.extensions(), "device": "cpu"}
    tables = sensorium.evaluate(folder, overrides=changes, **known)
    count = sensorium.embed(folder, out, part="test", **known)
    found = sensorium.search(folder, toys.incomplete_pairs()[7].values["a"], by="a", count=20, **known)
    mined = sensorium.mine(folder, part="train", margin=0.0, **known)
    return (
        {name: table.public() for name, table in tables.items()},
        count,
        found,
        (mined.queries, mined.negatives, mined.scores.tolist()),
    )


def used_by_rank(rank, world, run, out):
    read = []
    batches = PartReader.batches

    def noting(self, *args):
        for records in batches(self, *args):
            read.append(records.ids)
            yield records

    PartReader.batches = noting
    return used(run, out), read


def test_ranks_measure_together_what_one_process_measures(run, tmp_path):
    world = 3
    alone = used(run, tmp_path / "alone.npz")
    found = on_ranks(world, used_by_rank, tmp_path, run, tmp_path / "ranks.npz")
    assert [of_rank for of_rank, _ in found] == [alone] * world
    one, all_ranks = (np.load(tmp_path / name) for name in ("alone.npz", "ranks.npz"))
    assert one.files == all_ranks.files
    for name in one.files:
        np.testing.assert_array_equal(all_ranks[name], one[name])
    sizes = [sum(map(len, read)) for _, read in found]
    assert min(sizes) > 0.5 * sum(sizes) / world, "every rank embeds its share"


def fails_on_a_rank(rank, world, run):
    folder, changes = run

    def broken(self, *args):
        if rank == 1:
            raise SensoriumError("The disk of rank 1 is gone.")
        yield from ()

    PartReader.batches = broken
    try:
        sensorium.evaluate(
            folder, overrides=changes, source=toys.incomplete_pairs(), extensions=toys.extensions(), device="cpu"
        )
    except EvaluationError as error:
        return str(error)


def test_what_fails_on_one_rank_is_said_on_all(run, tmp_path):
    found = on_ranks(2, fails_on_a_rank, tmp_path, run)
    assert found[0] == found[1]
    assert "failed: the disk of rank 1 is gone" in found[0]


PROBES = {
    "layers": {"label": "class", "modality": "a", "Cs": [0.1], "max_records": 40},
    "attentive": {"label": "class", "modality": "a", "lrs": [0.01], "weight_decays": [0.1], "epochs": 1},
}


def probed_by_rank(rank, world, folder):
    changes = [f"evaluate.evaluators.{name}={options}".replace("'", "") for name, options in PROBES.items()]
    known = {"source": toys.incomplete_pairs(), "extensions": toys.extensions(), "device": "cpu"}
    return {name: table.public() for name, table in sensorium.evaluate(folder, overrides=changes, **known).items()}


def test_layers_and_tokens_of_ranks_are_those_of_one_process(tmp_path):
    """Ranks, and batches, have different numbers of tokens; the sample of the records is the same."""
    tower = {"modality": "vector", "views": {"name": "noise", "views": 1}, "encoder": "numbers"}
    folder = toys.train_pairs(tmp_path / "run", modalities={"a": tower, "b": tower})
    alone = probed_by_rank(0, 1, folder)
    assert on_ranks(2, probed_by_rank, tmp_path, folder) == [alone] * 2
    assert alone["layers"]["train"] == 40
