"""A run that was killed and continued ends in the same bits as one that never stopped."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file

import sensorium
from sensorium.data.orders import shuffled
from sensorium.errors import RecipeError
from tests import toys
from tests.integration import runner


def run(launcher=(), **asked):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, "-m", "tests.integration.runner", json.dumps(asked)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=400)


def digest(done):
    assert done.returncode == 0, done.stderr
    assert "in no group" in done.stdout
    assert "still in a group" not in done.stdout
    return next(line for line in done.stdout.splitlines() if line.startswith("digest"))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Sums of this process are those of the processes that are started, which have one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def here(**asked):
    """Return the digest of a training in this process, which nothing stops."""
    return f"digest {runner.digest(runner.trained(asked).learner)}"


SHARDED = {"checkpoint": {"every": 0.5, "keep": 2, "format": "sharded", "asynchronous": True}}


def queue_recipe(**train):
    return toys.recipe(
        objective="queue",
        train={"epochs": 4, "accelerator": "cpu", "ema": 0.9, **train},
        checkpoint={"every": 0.5, "keep": 2},
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return here(recipe=queue_recipe(), run_dir=str(tmp_path_factory.mktemp("whole") / "run"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed") / "run"
    assert run(recipe=queue_recipe(), run_dir=str(folder), kill_at=7).returncode == -9
    return folder


def test_killed_in_mid_epoch_and_resumed_bit_equal(uninterrupted, killed, tmp_path):
    shutil.copytree(killed, tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert digest(run(recipe=queue_recipe(), resume=str(tmp_path / "run"))) == uninterrupted
    after = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) < len(after) == len(set(after)), "no step is written twice"


def test_a_run_that_was_begun_before_orders_had_names_keeps_its_order(uninterrupted, killed, tmp_path, monkeypatch):
    """Few records are drawn whole under either name: the new order is made to differ."""
    folder = shutil.copytree(killed, tmp_path / "run")
    older = yaml.safe_load((folder / "recipe.yaml").read_text())
    assert older["data"].pop("order") == {"name": "shuffled", "window": None}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(older))
    for path in (folder / "checkpoints").glob("*.ckpt"):
        state = torch.load(path, weights_only=True)
        del state["extra"]["recipe"]["data"]["order"]
        torch.save(state, path)
    monkeypatch.setattr(shuffled, "WHOLE", 1)
    assert here(recipe=queue_recipe(), run_dir=str(tmp_path / "anew")) != uninterrupted
    assert here(recipe=queue_recipe(), resume=str(folder)) == uninterrupted
    assert yaml.safe_load((folder / "recipe.yaml").read_text())["data"]["order"]["name"] == "randperm"
    with pytest.raises(RecipeError, match=r"cannot change data\.order\.name \(randperm -> shuffled\)"):
        sensorium.fit(None, resume=folder, overrides=["data.order=shuffled"], extensions=toys.extensions())


def test_a_broken_checkpoint_is_passed_over_for_the_one_before(uninterrupted, killed, tmp_path):
    shutil.copytree(killed, tmp_path / "run")
    newest = sorted((tmp_path / "run" / "checkpoints").glob("*.ckpt"))[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    assert here(recipe=queue_recipe(), resume=str(tmp_path / "run")) == uninterrupted
    assert "the checkpoint before it is used" in (tmp_path / "run" / "train.log").read_text()


def test_sigterm_writes_a_checkpoint_and_leaves_with_143(uninterrupted, tmp_path):
    stopped = run(recipe=queue_recipe(), run_dir=str(tmp_path / "run"), term_at=5)
    assert stopped.returncode == 143
    assert "--resume" in stopped.stderr
    assert (tmp_path / "run" / "checkpoints" / "step-000000006.ckpt").exists()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "interrupted"
    assert here(recipe=queue_recipe(), resume=str(tmp_path / "run")) == uninterrupted


def test_ctrl_c_writes_a_checkpoint_and_leaves_with_130(uninterrupted, tmp_path):
    stopped = run(recipe=queue_recipe(), run_dir=str(tmp_path / "run"), interrupt_at=5)
    assert stopped.returncode == 130
    assert f"`sensorium train --resume {tmp_path / 'run'}`" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert (tmp_path / "run" / "checkpoints" / "step-000000006.ckpt").exists()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "interrupted"
    assert here(recipe=queue_recipe(), resume=str(tmp_path / "run")) == uninterrupted


def test_a_second_ctrl_c_leaves_at_once(tmp_path):
    stopped = run(recipe=queue_recipe(), run_dir=str(tmp_path / "run"), interrupt_at=5, interrupts=2)
    assert stopped.returncode == 130
    assert "its last checkpoint is of step" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert not (tmp_path / "run" / "checkpoints" / "step-000000006.ckpt").exists()


def test_without_the_checkpointed_queue_the_bits_differ(uninterrupted, killed, tmp_path):
    """The negative control: what the objective keeps beyond its weights matters to the comparison above."""
    shutil.copytree(killed, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").glob("*.ckpt"):
        state = torch.load(path, weights_only=True)
        state["learner"]["objective.queue"].zero_()
        torch.save(state, path)
    assert here(recipe=queue_recipe(), resume=str(tmp_path / "run")) != uninterrupted


def memory_recipe():
    """Two towers with everything that negatives keep: rows of earlier batches on both sides, their ids, the warm-up."""
    return toys.pair_recipe(
        train={"epochs": 4, "accelerator": "cpu"},
        checkpoint={"every": 0.5, "keep": 2},
    ) | {
        "objective": {
            "name": "clip",
            "dim": 8,
            "negatives": {"memory": 48, "mixed": 6, "hardest": 8, "beta": 0.5, "warmup": [0.1, 0.9]},
        }
    }


@pytest.fixture(scope="module")
def uninterrupted_memory(tmp_path_factory):
    return here(recipe=memory_recipe(), run_dir=str(tmp_path_factory.mktemp("memory") / "run"))


@pytest.fixture(scope="module")
def killed_with_memory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed") / "run"
    assert run(recipe=memory_recipe(), run_dir=str(folder), kill_at=7).returncode == -9
    return folder


@pytest.mark.parametrize("lost", [None, "memories.a.rows", "memories.b.ids", "warmup"])
def test_the_memory_of_negatives_resumes_bit_equal(uninterrupted_memory, killed_with_memory, tmp_path, lost):
    """And, as negative controls, each thing that negatives keep matters to the comparison."""
    shutil.copytree(killed_with_memory, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").glob("*.ckpt") if lost else ():
        state = torch.load(path, weights_only=True)
        kept = state["learner"][f"objective.negatives.{lost}"]
        kept.fill_(float(kept.ndim == 2))  # rows that are all alike; ids of one record; a ramp that has not begun
        torch.save(state, path)
    resumed = here(recipe=memory_recipe(), resume=str(tmp_path / "run"))
    assert (resumed == uninterrupted_memory) == (lost is None)


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def test_two_ranks_agree_under_every_launcher_and_resume_bit_equal_and_fsdp_agrees(tmp_path):
    ddp = queue_recipe(devices=2, ema=None)
    whole = digest(run(recipe=ddp, run_dir=str(tmp_path / "ddp")))
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")
    assert digest(run(torchrun, recipe=ddp, run_dir=str(tmp_path / "torchrun"))) == whole
    assert run(recipe=ddp, run_dir=str(tmp_path / "run"), term_at=5).returncode == 143
    assert digest(run(recipe=ddp, resume=str(tmp_path / "run"))) == whole

    fsdp = queue_recipe(devices=2, ema=None, strategy="fsdp") | SHARDED
    assert run(recipe=fsdp, run_dir=str(tmp_path / "fsdp"), term_at=5).returncode == 143
    assert (tmp_path / "fsdp" / "checkpoints" / "step-000000006.ckpt" / "checkpoint.json").is_file()
    shutil.copytree(tmp_path / "fsdp", tmp_path / "one")
    resumed = run(recipe=fsdp, resume=str(tmp_path / "fsdp"))
    assert resumed.returncode == 0, resumed.stderr
    on_one = queue_recipe(devices=1, ema=None)
    trained = sensorium.fit(on_one, source=toys.vectors(), extensions=toys.extensions(), resume=tmp_path / "one")
    replicated, sharded = weights(tmp_path / "ddp"), weights(tmp_path / "fsdp")
    assert replicated.keys() == sharded.keys() == trained.learner.state_dict().keys()
    for name, tensor in replicated.items():
        torch.testing.assert_close(sharded[name], tensor, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    status = json.loads((tmp_path / "one" / "run.json").read_text())  # its batch norm sees all 16 records at once
    assert (status["state"], status["step"]) == ("finished", 16)


def test_killed_while_a_sharded_checkpoint_is_written_and_resumed_bit_equal(uninterrupted, tmp_path):
    recipe, folder = queue_recipe() | SHARDED, tmp_path / "run"
    assert run(recipe=recipe, run_dir=str(folder), kill_writing=2).returncode == -9
    (whole,) = (folder / "checkpoints").glob("step-*.ckpt")
    (rest,) = (folder / "checkpoints").glob(".step-*.tmp")
    assert [file.suffix for file in rest.iterdir()] == [".safetensors"] * 3
    other = sensorium.load(folder, "last", extensions=toys.extensions())
    assert here(recipe=recipe, resume=str(folder)) == uninterrupted
    assert not rest.exists()
    assert not whole.exists()
    last = sensorium.load(folder, "last", extensions=toys.extensions()).learner.state_dict()
    assert all(torch.equal(tensor, last[name]) for name, tensor in weights(folder).items())
    assert other.learner.state_dict().keys() == last.keys()


def test_a_flipped_bit_is_found_and_the_checkpoint_before_is_used(uninterrupted, killed, tmp_path):
    """In a file; then in one of the files of the sharded checkpoints that the resumed training wrote."""
    folder = tmp_path / "run"
    shutil.copytree(killed, folder)
    for changed in (["checkpoint.format=sharded", "checkpoint.asynchronous=true"], []):
        newest = sorted((folder / "checkpoints").glob("*.ckpt"))[-1]
        assert newest.is_dir() == (not changed)
        damaged = sorted(newest.glob("*.safetensors"))[0] if newest.is_dir() else newest
        content = bytearray(damaged.read_bytes())
        content[len(content) // 2] ^= 1
        damaged.write_bytes(content)
        model = sensorium.fit(None, changed, source=toys.vectors(), resume=folder, extensions=toys.extensions())
        assert f"digest {runner.digest(model.learner)}" == uninterrupted
        said = f"the checkpoint of step {int(newest.stem[5:])} cannot be read: the checkpoint before it is used"
        assert said in (folder / "train.log").read_text()
