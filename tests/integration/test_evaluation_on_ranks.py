"""A training of two ranks, and torchrun, measure what one process measures."""

import json

import pytest
import torch

import sensorium
from tests import toys
from tests.integration.test_resume import run

TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_training_of_two_ranks_is_measured_as_its_model_is_by_one_process(tmp_path, strategy):
    weights = tmp_path / "weights.pt"
    torch.save(toys.MLP(toys.VectorModality()).state_dict(), weights)
    train = {"steps": 8, "devices": 2, "strategy": strategy, "accelerator": "cpu"}
    evaluators = {"knn": {"label": "class", "k": 5}, "health": {}}
    tower = toys.recipe()["modalities"]["a"] | {"weights": str(weights)}
    evaluate = {"every": 1.0, "batch": 8, "evaluators": evaluators}
    recipe = toys.recipe(modalities={"a": tower}, train=train, evaluate=evaluate)
    folder = tmp_path / "run"
    trained = run(recipe=recipe | {"checkpoint": {"best": "knn/accuracy"}}, run_dir=str(folder))
    assert trained.returncode == 0, trained.stderr
    names = [*evaluators, "forgetting"]
    written = {name: (folder / "evaluations" / f"{name}.json").read_text() for name in names}
    assert '"as it came"' in written["knn"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert sum("val/knn/accuracy" in line for line in lines) == 2

    sensorium.evaluate(folder, source=toys.vectors(), extensions=toys.extensions(), device="cpu")
    for name, text in written.items():
        assert (folder / "evaluations" / f"{name}.json").read_text() == text
    if strategy == "ddp":
        for name in names:
            (folder / "evaluations" / f"{name}.json").unlink()
        evaluated = run(TORCHRUN, evaluate=str(folder))
        assert evaluated.returncode == 0, evaluated.stderr
        for name, text in written.items():
            assert (folder / "evaluations" / f"{name}.json").read_text() == text
