"""What a resumed training may change, and what it refuses: recipe keys, and records that are gone or new."""

import json
import stat

import pytest

import sensorium
from sensorium.errors import Interrupted, RecipeError, RunError
from sensorium.recipe import read_recipe
from sensorium.training import loop
from tests import toys

RECIPE = toys.recipe(
    train={"epochs": 4, "accelerator": "cpu"}, checkpoint={"every": 1.0, "keep": 2}, evaluate={"evaluators": {}}
)


def fit(*overrides, count=64, monkeypatch=None, stop_at=None, **how):
    if stop_at is not None:
        take_step = loop.take_step

        def stopping(t, step, parts):
            if step == stop_at:
                loop.signal.raise_signal(loop.signal.SIGTERM)
            return take_step(t, step, parts)

        monkeypatch.setattr(loop, "take_step", stopping)
    return sensorium.fit(overrides=overrides, source=toys.vectors(count), extensions=toys.extensions(), **how)


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A run that was interrupted in its second epoch."""
    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        fit(recipe=RECIPE, run_dir=tmp_path / "run", monkeypatch=patched, stop_at=5)
    return tmp_path / "run"


def status(run):
    return json.loads((run / "run.json").read_text())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.batch=4"], ["data.batch (16 -> 4)", "data.batch=4 train.warm_start="]),
        (["seed=7", "optimizer.lr=0.5"], ["seed (0 -> 7)", "optimizer.lr (", "seed=7"]),
        (["modalities.a.modality.width=4"], ["modalities.a.modality"]),
        (["objective.temperature=0.7"], ["objective.temperature", "null -> 0.7"]),
        (["data.val=0.2"], ["data.val"]),
    ],
)
def test_what_decides_what_is_learned_is_refused(stopped, overrides, words):
    before = (stopped / "recipe.yaml").read_text(), status(stopped)
    with pytest.raises(RecipeError) as error:
        fit(*overrides, resume=stopped)
    sentence = str(error.value)
    assert all(word in sentence for word in [*words, "it can change train.epochs", f"train.warm_start={stopped}"])
    assert "\n" not in sentence
    assert ((stopped / "recipe.yaml").read_text(), status(stopped)) == before


def test_what_may_change_is_said_and_written_to_the_recipe(stopped, caplog):
    caplog.set_level("INFO")
    fit("data.workers=0", "train.epochs=6", "log.every=1", resume=stopped)
    assert "train.epochs is now 6.0 (before: 4.0)" in caplog.text
    assert "8 steps become 12" in caplog.text
    assert "the learning rate is" in caplog.text
    kept = read_recipe(stopped / "recipe.yaml", toys.extensions().registry)
    assert (kept.train.epochs, kept.log.every) == (6.0, 1)
    told = status(stopped)
    assert (told["state"], told["step"]) == ("finished", 12)
    (resumption,) = told["resumptions"]
    assert resumption["step"] == 6
    assert resumption["changed"]["train.epochs"] == [4.0, 6.0]


def test_a_recipe_edited_by_hand_in_the_run_folder_is_noticed(stopped):
    file = stopped / "recipe.yaml"
    file.write_text(file.read_text().replace("batch: 16", "batch: 8", 1))
    with pytest.raises(RecipeError, match=r"data.batch \(16 -> 8\)"):
        fit(resume=stopped)


def test_a_recipe_given_in_python_beside_the_run_is_compared_with_it(stopped):
    with pytest.raises(RecipeError, match="seed"):
        fit(recipe={**RECIPE, "seed": 3}, resume=stopped)
    assert fit(recipe=RECIPE, resume=stopped).run.status()["state"] == "finished"


def test_fewer_steps_than_are_done_are_refused(stopped):
    with pytest.raises(RecipeError, match="to have 2 steps, but 6 are done"):
        fit("train.epochs=1", resume=stopped)


def test_records_that_are_gone_or_new_are_told_and_need_a_word(stopped, caplog):
    caplog.set_level("INFO")
    with pytest.raises(RunError) as error:
        fit(count=84, resume=stopped)
    assert "20 are new ('64', '65', '67', ...)" in str(error.value)
    assert "--data-changed" in str(error.value)
    fit(count=84, resume=stopped, data_changed=True)
    assert "8 steps become 12" in caplog.text
    assert "20 are new" in status(stopped)["resumptions"][0]["records"]
    assert fit(count=84, resume=stopped).run.status()["state"] == "finished"  # these are now its records
    with pytest.raises(RunError, match=r"44 are gone \('42', '45', '47', ...\)"):
        fit(count=40, resume=stopped)


def test_an_evaluation_warns_of_changed_records(stopped, caplog):
    fit(resume=stopped)
    how = {"extensions": toys.extensions(), "device": "cpu", "evaluators": ["health"]}
    for count, source in ((0, toys.vectors(64)), (1, toys.vectors(80))):
        sensorium.evaluate(stopped, source=source, **how)
        assert caplog.text.count("The records are not those that") == count
    assert "16 are new" in caplog.text


def test_a_copy_is_continued_elsewhere(stopped, tmp_path):
    before = status(stopped)
    model = fit(resume=stopped, run_dir=tmp_path / "copy")
    assert model.run.folder == tmp_path / "copy"
    assert status(stopped) == before
    assert status(tmp_path / "copy")["copied_from"] == str(stopped)
    assert status(tmp_path / "copy")["state"] == "finished"
    with pytest.raises(RunError, match="is not empty"):
        fit(resume=stopped, run_dir=tmp_path / "copy")


def test_leftovers_of_killed_writers_are_swept(stopped):
    left = stopped / "checkpoints" / ".step-000000009.ckpt.4194303.tmp"
    left.write_bytes(b"half")
    fit(resume=stopped)
    assert not left.exists()


def test_files_have_the_rights_that_the_umask_gives(stopped):
    fit(resume=stopped)
    files = [path for path in stopped.rglob("*") if path.is_file()]
    assert {stat.filemode(path.stat().st_mode) for path in files} == {"-rw-r--r--"}
