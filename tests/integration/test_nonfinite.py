"""A record that makes the loss non-finite costs its step and nothing else; too many of them cost the run."""

import copy
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

import sensorium
from sensorium.cli.main import main
from sensorium.errors import RecipeError, RunError, TrainingError
from sensorium.training import loop
from sensorium.training.finite_guard import Guard, read_notes
from tests import toys
from tests.integration.test_resume import digest, queue_recipe, run

BAD = 11
"""The record whose numbers are infinite; it is drawn once an epoch, into steps 1, 7, 8 and 13."""


def fit(folder, recipe=None, **changes):
    recipe = recipe or toys.recipe(objective="queue", **changes)
    return sensorium.fit(recipe, source=toys.vectors(endless=[BAD]), run_dir=folder, extensions=toys.extensions())


def notes(folder):
    return read_notes(folder / "nonfinite" / "steps.jsonl")


def test_the_step_is_skipped_counted_and_named(tmp_path, monkeypatch):
    take_step, skipped = loop.take_step, []

    def watched(t, step, parts):
        before = copy.deepcopy((t.learner.state_dict(), t.optimizer.optimizer.state_dict()["state"]))
        taken = take_step(t, step, parts)
        if taken is None:
            after = t.learner.state_dict(), t.optimizer.optimizer.state_dict()["state"]
            skipped.append(step)
            torch.testing.assert_close(after, before, rtol=0, atol=0)
            assert all(p.grad is None for p in t.learner.parameters())
        return taken

    monkeypatch.setattr(loop, "take_step", watched)
    model = fit(tmp_path / "run")
    assert len(skipped) == 3, "once an epoch"
    found = notes(tmp_path / "run")
    assert [note["step"] for note in found] == skipped
    for note in found:
        assert note["loss"] == "nan"
        (ids,) = note["ids"]
        assert str(BAD) in ids
        assert len(ids) == 16
    assert all(t.isfinite().all() for t in model.learner.state_dict().values() if t.is_floating_point())
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["skipped"] == 3
    assert all(line["loss"] == line["loss"] for line in lines), "no figure is nan"


def test_a_step_of_several_passes_names_its_records_too(tmp_path):
    fit(tmp_path / "run", toys.recipe(train={"steps": 12, "accumulate": 2, "gradient_cache": True}))
    found = notes(tmp_path / "run")
    assert found
    for note in found:
        assert str(BAD) in note["ids"][0]
        assert len(note["ids"][0]) == 16


def test_without_the_guard_queue_and_statistics_keep_what_is_not_finite(tmp_path, monkeypatch):
    """The negative control: buffers that a forward pass moved are not put back."""
    monkeypatch.setattr(Guard, "_restore_buffers", lambda self: None)
    model = fit(tmp_path / "run", toys.recipe(objective="queue", monitor={"skips": 1000}))
    buffers = dict(model.learner.named_buffers())
    assert not buffers["encoders.a.net.1.running_mean"].isfinite().all()


def test_one_too_many_stops_the_run_with_what_to_do(tmp_path):
    with pytest.raises(
        TrainingError, match=r"2 steps .* monitor.skips = 1 allows: lower optimizer.lr.*`sensorium replay"
    ):
        fit(tmp_path / "run", monitor={"skips": 1})
    assert len(notes(tmp_path / "run")) == 2
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "failed"


def test_replay_names_the_record_and_changes_nothing(tmp_path):
    fit(tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    (part,) = sensorium.replay(tmp_path / "run", source=toys.vectors(endless=[BAD]), extensions=toys.extensions())
    assert part.step == notes(tmp_path / "run")[-1]["step"]
    assert part.suspects == [str(BAD)]
    assert part.loss != part.loss
    assert part.module == "encoders.a.net.0"
    assert "encoders.a.net.0.weight" in part.weights
    assert f"are non-finite: {BAD}." in part.sentence
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_replay_meets_the_records_of_the_step_where_neighbors_are_paired(tmp_path):
    pairs = {"query": [str(i) for i in range(40)], "negative": [str(39 - i) for i in range(40)]}
    pq.write_table(pa.table(pairs), tmp_path / "near.parquet")
    fit(tmp_path / "run", toys.recipe(data=toys.recipe()["data"] | {"neighbors": str(tmp_path / "near.parquet")}))
    (part,) = sensorium.replay(tmp_path / "run", source=toys.vectors(endless=[BAD]), extensions=toys.extensions())
    assert part.ids == notes(tmp_path / "run")[-1]["ids"][0]
    assert part.suspects == [str(BAD)]


def test_replay_of_mended_records_is_finite(tmp_path):
    """The negative control of what replay found."""
    fit(tmp_path / "run")
    (part,) = sensorium.replay(tmp_path / "run", source=toys.vectors(), extensions=toys.extensions())
    assert part.loss == part.loss
    assert (part.suspects, part.module, part.weights) == ([], None, [])
    assert part.sentence.endswith("on another device.")


def test_a_run_without_such_a_step_has_nothing_to_replay(tmp_path, monkeypatch, capsys):
    sensorium.fit(toys.recipe(), source=toys.vectors(), run_dir=tmp_path / "run", extensions=toys.extensions())
    assert not (tmp_path / "run" / "nonfinite").exists()
    with pytest.raises(RunError, match="nothing to replay"):
        sensorium.replay(tmp_path / "run", source=toys.vectors(), extensions=toys.extensions())
    monkeypatch.setattr("sensorium.api.measuring.load_extensions", toys.extensions)
    with pytest.raises(SystemExit) as left:
        main(["replay", str(tmp_path / "run")])
    assert left.value.code == RecipeError.code
    assert "source" in capsys.readouterr().err


def half_precision(scale):
    """A fabric that trains in fp16 with a loss scale, on the CPU."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return lambda train: Fabric(accelerator="cpu", plugins=MixedPrecision("16-mixed", "cpu", scaler)), scaler


@pytest.mark.parametrize("clip", [1.0, None])
def test_an_overflow_of_the_loss_scale_is_no_defect(tmp_path, monkeypatch, clip):
    fabric, scaler = half_precision(2.0**24)
    monkeypatch.setattr("sensorium.api.training.build_fabric", fabric)
    recipe = toys.recipe(train={"epochs": 6, "accelerator": "cpu", "grad_clip": clip})
    model = sensorium.fit(recipe, source=toys.vectors(), run_dir=tmp_path / "run", extensions=toys.extensions())
    assert 1 < scaler.get_scale() < 2.0**24, "the scale was lowered until gradients were finite"
    assert not (tmp_path / "run" / "nonfinite").exists()
    assert all(p.isfinite().all() for p in model.learner.parameters())


def test_a_loss_that_is_not_finite_is_a_defect_in_half_precision_too(tmp_path, monkeypatch):
    monkeypatch.setattr("sensorium.api.training.build_fabric", half_precision(2.0**4)[0])
    fit(tmp_path / "run", toys.recipe())
    assert len(notes(tmp_path / "run")) == 3


def test_resumes_bit_equal_across_steps_that_were_skipped(tmp_path):
    asked = {"recipe": queue_recipe(), "endless": [BAD]}
    whole = digest(run(**asked, run_dir=str(tmp_path / "whole")))
    assert run(**asked, run_dir=str(tmp_path / "run"), kill_at=9).returncode == -9
    assert digest(run(**asked, resume=str(tmp_path / "run"))) == whole
    assert notes(tmp_path / "run") == notes(tmp_path / "whole")
    assert len(notes(tmp_path / "run")) == 4


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_ranks_agree_on_what_is_skipped(tmp_path, strategy):
    recipe = queue_recipe(devices=2, ema=None, strategy=strategy)
    done = run(recipe=recipe, endless=[BAD], run_dir=str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    for note in notes(tmp_path / "run"):
        assert [len(ids) for ids in note["ids"]] == [8, 8]
        assert str(BAD) in [id for ids in note["ids"] for id in ids]
    assert len(notes(tmp_path / "run")) == 4
    parts = sensorium.replay(tmp_path / "run", source=toys.vectors(endless=[BAD]), extensions=toys.extensions())
    assert [part.rank for part in parts] == [0, 1]
    assert [id for part in parts for id in part.suspects] == [str(BAD)]
