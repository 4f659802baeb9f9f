import json

import numpy as np
import pytest
import torch

import sensorium
from sensorium import Callback
from sensorium.errors import PluginError
from sensorium.training.callbacks import Callbacks
from tests import toys
from tests.core.contracts.test_callback import training

KNN = {"evaluators": {"knn": {"k": 5, "label": "class"}}, "every": 1, "baselines": "off"}
SEEN = []


class Diary(Callback):
    """Notes what it is called for.

    Args:
        name: stands before each note.
        fails_at: step after which it raises.
        finish_at: step after which it finishes the training.
    """

    def __init__(self, name: str = "", fails_at: int = 0, finish_at: int = 0) -> None:
        self.name, self.fails_at, self.finish_at, self.steps = name, fails_at, finish_at, 0

    def _note(self, what, training, *more):
        SEEN.append((f"{self.name}{what}", training.step, *more))

    def before_training(self, training):
        self._note("before_training", training)

    def after_training(self, training):
        self._note("after_training", training)

    def before_epoch(self, training):
        self._note("before_epoch", training)

    def after_epoch(self, training):
        self._note("after_epoch", training)

    def before_step(self, training):
        self._note("before_step", training)

    def after_step(self, training, outcome, loss):
        self._note("after_step", training)
        assert loss.item() == pytest.approx(outcome.loss.item())
        self.steps += 1
        training.log({"diary/steps": self.steps, "diary/loss": loss})
        if training.step == self.fails_at:
            raise ValueError("no more ink")
        if training.step == self.finish_at:
            training.finish("it is enough")

    def before_evaluation(self, training):
        self._note("before_evaluation", training)

    def after_evaluation(self, training, metrics):
        self._note("after_evaluation", training, sorted(metrics)[0])

    def before_checkpoint(self, training):
        self._note("before_checkpoint", training)

    def after_checkpoint(self, training, path):
        self._note("after_checkpoint", training, path.name, path.is_file())

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


@pytest.fixture(autouse=True)
def _registered():
    SEEN.clear()
    extensions = toys.extensions()
    register = sensorium.registration.registry.Register("callbacks", "diaries", "tests")
    register("diary", f"{__name__}:Diary", summary="a diary")
    extensions.registry.add(register.specs)
    global EXTENSIONS
    EXTENSIONS = extensions


def fit(folder, resume=None, overrides=(), **changes):
    given = None if resume else toys.recipe(**changes)
    options = {"resume": resume} if resume else {"run_dir": folder}
    return sensorium.fit(given, overrides, source=toys.vectors(), extensions=EXTENSIONS, evaluate=False, **options)


def lines(model):
    return [json.loads(line) for line in (model.run.folder / "metrics.jsonl").read_text().splitlines()]


def test_callbacks_are_called_in_their_order_at_every_event(tmp_path):
    fit(
        tmp_path / "run",
        train={"steps": 5, "accelerator": "cpu"},
        evaluate=KNN,
        callbacks={"one": {"name": "diary"}, "other": {"name": "diary"}},
    )
    assert SEEN[::2] == SEEN[1::2], "both callbacks, one behind the other"
    epoch = [("before_epoch", 0)]
    epoch += [(what, step + (what == "after_step")) for step in range(4) for what in ("before_step", "after_step")]
    checked = [("before_checkpoint", 4), ("after_checkpoint", 4, "step-000000004.ckpt", True)]
    measured = [("before_evaluation", 4), ("after_evaluation", 4, "knn/accuracy")]
    assert SEEN[::2][:15] == [("before_training", 0), *epoch, ("after_epoch", 4), *measured, *checked]
    assert SEEN[-1] == ("after_training", 5)
    assert ("before_epoch", 4) in SEEN
    assert ("after_epoch", 5) not in SEEN, "a pass that is not whole"


def test_what_a_callback_logs_stands_in_the_lines_of_metrics(tmp_path):
    model = fit(tmp_path / "run", train={"steps": 3, "accelerator": "cpu"}, callbacks={"diary": None})
    assert [(line["diary/steps"], line["diary/loss"] == line["loss"]) for line in lines(model)] == [
        *((1, True), (2, True), (3, True))
    ]


def test_callbacks_that_only_look_change_no_bit(tmp_path):
    without = fit(tmp_path / "a", train={"steps": 5, "accelerator": "cpu"})
    watched = fit(tmp_path / "b", train={"steps": 5, "accelerator": "cpu"}, callbacks={"diary": None})
    mine, other = without.learner.state_dict(), watched.learner.state_dict()
    assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_a_failing_callback_is_named_and_the_checkpoints_remain(tmp_path):
    sentence = (
        r"^The callback 'mine' failed in after_step at step 6: ValueError: no more ink\. Checkpoints remain: once it "
        r"is corrected, or taken away by callbacks.mine=null, continue with `sensorium train --resume .*run`\.\n"
        r"It comes from plugin 'toys'"
    )
    with pytest.raises(PluginError, match=sentence):
        fit(tmp_path / "run", callbacks={"mine": {"name": "diary", "fails_at": 6}})
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "failed"
    model = fit(None, resume=tmp_path / "run", overrides=["callbacks.mine=null"])
    whole = fit(tmp_path / "whole").learner.state_dict()
    assert all(torch.equal(weight, whole[name]) for name, weight in model.learner.state_dict().items())


def test_a_callback_that_fails_before_the_first_checkpoint_leaves_nothing_to_resume(tmp_path):
    with pytest.raises(PluginError, match=r"at step 1: ValueError: no more ink\. There is no checkpoint yet"):
        fit(tmp_path / "run", callbacks={"mine": {"name": "diary", "fails_at": 1}})


def test_finishing_does_all_that_the_last_step_does(tmp_path, caplog):
    caplog.set_level("INFO")
    model = fit(tmp_path / "run", evaluate=KNN, log={"every": 4}, callbacks={"mine": {"name": "diary", "finish_at": 6}})
    assert [line["step"] for line in lines(model)] == [4, 4, 6, 6], "a line and an evaluation at each"
    assert ("after_checkpoint", 6, "step-000000006.ckpt", True) in SEEN
    assert SEEN[-1] == ("after_training", 6)
    assert "finished at step 6 of 12: mine: it is enough" in caplog.messages
    status = json.loads((model.run.folder / "run.json").read_text())
    found = {key: status[key] for key in ("state", "step", "steps", "finished_by")}
    assert found == {"state": "finished", "step": 6, "steps": 12, "finished_by": "mine: it is enough"}


def test_a_finished_run_takes_no_step_until_its_callback_is_another(tmp_path, caplog):
    caplog.set_level("INFO")
    first = fit(tmp_path / "run", callbacks={"mine": {"name": "diary", "finish_at": 6}})
    again = fit(None, resume=tmp_path / "run")
    assert not [seen for seen in SEEN if seen[1] > 6]
    assert any("the training was finished at step 6 of 12 by mine: it is enough; no step" in m for m in caplog.messages)
    mine, other = first.learner.state_dict(), again.learner.state_dict()
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    fit(None, resume=tmp_path / "run", overrides=["callbacks.mine.finish_at=0"])
    status = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (status["step"], status["finished_by"]) == (12, None)
    assert lines(again)[-1]["diary/steps"] == 12, "its state went on"


def test_a_state_that_a_checkpoint_does_not_keep_is_named():
    class Keeps(Callback):
        def __init__(self, value):
            self.value = value

        def state_dict(self):
            return {"a": [1, 2.0, "x", None, (True, torch.ones(2))], "b": {"c": self.value}}

    assert Callbacks(training(), {"mine": Keeps(1)}).state_dict()["states"]["mine"]["b"] == {"c": 1}
    with pytest.raises(PluginError, match=r"of the callback 'mine' holds np.float64\(1.0\), of type float64"):
        Callbacks(training(), {"mine": Keeps(np.float64(1))}).state_dict()


def test_methods_that_nobody_defines_cost_no_call():
    class Quiet(Callback):
        def after_evaluation(self, training, metrics):
            """Nothing of a step."""

    assert Callbacks(training(), {}).begin_step is None
    assert (Callbacks(training(), {"quiet": Quiet()}).begin_step, Callbacks(training(), {}).end_step) == (None, None)
    assert Callbacks(training(), {"diary": Diary()}).begin_step is not None
