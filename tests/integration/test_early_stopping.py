"""A training that a callback finishes: from a recipe, killed and resumed, and on two ranks."""

import json

import pytest

import sensorium
from sensorium.errors import RecipeError
from sensorium.training import loop
from tests import toys
from tests.integration.runner import digest as digest_of
from tests.integration.test_resume import run

TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")
REASON = "early-stopping: knn/accuracy has not risen for 2 evaluations (best 1 at step 4)"


def recipe(**changes):
    """A recipe of 20 epochs of 4 steps, which early stopping on kNN finishes."""
    return toys.recipe(
        objective="queue",
        train={"epochs": 20, "accelerator": "cpu"},
        checkpoint={"every": 0.5, "keep": 2, "best": "knn/accuracy"},
        evaluate={"evaluators": {"knn": {"k": 5, "label": "class"}}, "every": 1, "baselines": "off"},
        **{"callbacks": {"early-stopping": {"metric": "knn/accuracy", "patience": 2}}, **changes},
    )


def status(folder):
    return json.loads((folder / "run.json").read_text())


def train(folder, resume=False, **changes):
    """Train in this process, or continue; return the digest of the weights."""
    place = {"resume": folder} if resume else {"run_dir": folder}
    given = {"source": toys.vectors(), "extensions": toys.extensions(), **place}
    return digest_of(sensorium.fit(None if resume else recipe(**changes), **given).learner)


def killed(folder, at, monkeypatch):
    """Train until an error before a step, as if the process was killed there."""
    take_step = loop.take_step

    def dying(t, step, parts):
        if step == at:
            raise RuntimeError("killed")
        return take_step(t, step, parts)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "take_step", dying)
        with pytest.raises(RuntimeError, match="killed"):
            train(folder)


def test_early_stopping_on_knn_finishes_with_evaluation_and_resumes_bit_equal_around_the_stop(tmp_path, monkeypatch):
    folder = tmp_path / "whole"
    whole = train(folder)
    found = {key: status(folder)[key] for key in ("state", "step", "steps", "finished_by")}
    assert found == {"state": "finished", "step": 12, "steps": 80, "finished_by": REASON}
    assert f"finished at step 12 of 80: {REASON}" in (folder / "train.log").read_text()
    assert "trained" in json.loads((folder / "evaluations" / "knn.json").read_text())["rows"]
    assert json.loads((folder / "checkpoints" / "best.json").read_text())["step"] == 4
    for at in (5, 9):  # behind the best, and behind one evaluation without improvement
        killed(tmp_path / f"killed-{at}", at, monkeypatch)
        assert train(tmp_path / f"killed-{at}", resume=True) == whole
        assert status(tmp_path / f"killed-{at}")["finished_by"] == REASON
    assert train(folder, resume=True) == whole
    assert "no step is taken: to train on, change its options" in (folder / "train.log").read_text()


def test_one_rank_that_finishes_finishes_all_with_evaluation(tmp_path):
    changes = {"callbacks": {"finisher": {"rank": 1, "step": 6}}}
    folder = tmp_path / "run"
    done = run(TORCHRUN, recipe=recipe(**changes), run_dir=str(folder))
    assert done.returncode == 0, done.stderr
    assert len({line for line in done.stdout.splitlines() if line.startswith("digest")}) == 1
    assert (status(folder)["step"], status(folder)["finished_by"]) == (6, "finisher: rank 1 is done")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "val/knn/accuracy" in line] == [4, 6]
    assert (folder / "checkpoints" / "step-000000006.ckpt").is_file()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"evaluate": {"evaluators": {}}},
            r"callbacks.early-stopping reads metrics on the val part during the training: set evaluate.every\.",
        ),
        (
            {"callbacks": {"early-stopping": {"metric": "knn/acuracy"}}, "checkpoint": {}},
            r"callbacks.early-stopping names the metric 'knn/acuracy', which no evaluator measures, did you mean "
            r"'knn/accuracy'\?",
        ),
        ({"callbacks": {"early-stopping": {"metric": "knn/accuracy", "patiens": 1}}}, "did you mean 'patience'"),
        ({"callbacks": {"early-stopping": {"metric": "knn/accuracy", "patience": 0}}}, "must be at least 1, not 0"),
    ],
)
def test_what_is_wrong_is_said_before_the_training(changes, sentence, tmp_path):
    given = recipe() | changes
    if "evaluate" in changes:
        given.pop("checkpoint")
    with pytest.raises(RecipeError, match=sentence):
        sensorium.fit(given, source=toys.vectors(), extensions=toys.extensions(), run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
