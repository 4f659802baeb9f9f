"""A run of the schedule wsd is continued from its stable phase, as the page on optimizers says, to the bits."""

import shutil

import pytest
import torch

import sensorium
from tests import toys


def fit(steps, schedule, **how):
    recipe = toys.recipe(
        train={"steps": steps, "accelerator": "cpu"},
        checkpoint={"every": 0.25, "keep": 20},
        evaluate={"evaluators": {}},
        optimizer={"name": "muon", "lr": 0.01, "warmup": 3, "schedule": schedule},
    )
    given = {"recipe": recipe} | how if "run_dir" in how else {"overrides": [f"train.steps={steps}"]} | how
    return sensorium.fit(source=toys.vectors(64), extensions=toys.extensions(), **given)


@pytest.mark.parametrize(("schedule", "is_equal"), [({"name": "wsd", "decay": 4}, True), ("cosine", False)])
def test_more_steps_from_the_stable_phase_are_those_of_a_longer_run(tmp_path, caplog, schedule, is_equal):
    longer = fit(20, schedule, run_dir=tmp_path / "longer")
    fit(12, schedule, run_dir=tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    for checkpoint in (tmp_path / "again" / "checkpoints").glob("step-*.ckpt"):
        if int(checkpoint.stem.removeprefix("step-")) > 8:
            checkpoint.unlink()
    caplog.set_level("INFO")
    resumed = fit(20, schedule, resume=tmp_path / "again")
    assert "12 steps become 20" in caplog.text
    assert ("the learning rate stays 0.01" in caplog.text) == is_equal
    states = longer.learner.state_dict(), resumed.learner.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0]) == is_equal
