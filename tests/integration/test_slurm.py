"""A training on a real SLURM cluster of two nodes, which is stopped, queued again, and finishes.

Run by `pytest -n 0 -m slow tests/integration/test_slurm.py`: as root, after `apt-get install slurm-wlm munge`.
"""

import json
import os
import subprocess
import sys
import time

import pytest
import yaml
from safetensors.torch import load_file

from .slurm import cluster, jobs, missing
from .word_pairs import word_pairs

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]
STEPS = 60


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("slurm")) as made:
        yield made


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    made = word_pairs(folder, train={"steps": STEPS, "accelerator": "cpu"}, checkpoint={"every": 2.0})
    (folder / "words.yaml").write_text(yaml.safe_dump(made))
    return folder / "words.yaml"


def call(environment, *words, **more):
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def submit(environment, recipe, run, *words):
    """Send a training on two nodes; returns the number of its job."""
    sent = call(
        environment,
        *(sys.executable, "-m", "sensorium", "submit", str(recipe), "--run-dir", str(run), "--go"),
        *("--nodes", "2", "--gpus", "0", "--time", "20", *words),
    )
    return sent.split("Submitted batch job ")[1].split(".")[0]


def wait_for(true, said, seconds=600):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, said()
        time.sleep(0.2)


def steps(run):
    """Return the steps whose metrics are written."""
    file = run / "metrics.jsonl"
    return [json.loads(line)["step"] for line in file.read_text().splitlines() if line] if file.exists() else []


@pytest.fixture(scope="module")
def undisturbed(recipe, tmp_path_factory):
    """The weights of the same training of two processes without SLURM."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    launcher = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=localhost:0",
    ]
    command = [sys.executable, *launcher, "-m", "sensorium", "train", str(recipe), "--run-dir", str(run)]
    call({**os.environ, "OMP_NUM_THREADS": "1"}, *command)
    return load_file(run / "model" / "model.safetensors")


@pytest.mark.parametrize("how", ["scancel --signal=USR1", "scontrol requeue"])
def test_a_job_that_is_stopped_is_queued_again_and_finishes_in_the_same_bits(
    how, environment, recipe, undisturbed, tmp_path
):
    run = tmp_path / "run"
    job = submit(environment, recipe, run)
    output = run / "launches" / f"{job}.out"

    def said():
        return output.read_text() if output.exists() else jobs(environment)

    wait_for(lambda: len(steps(run)) > 5, said)
    call(environment, *how.split(), job)
    wait_for(lambda: not (jobs(environment, job)), said)
    text = output.read_text()
    assert text.count("holds no training yet: it begins") == 1, text
    assert "the training goes on" in text or "begins anew" in text
    if how == "scancel --signal=USR1":
        assert "SIGUSR1: the training stops after this step, with a checkpoint." in text
        assert "the training goes on" in text
    status = json.loads((run / "run.json").read_text())
    assert (status["state"], status["step"]) == ("finished", STEPS)
    assert (run / "evaluations" / "health.json").exists()
    weights = load_file(run / "model" / "model.safetensors")
    assert all(weights[name].equal(tensor) for name, tensor in undisturbed.items())
    assert "2 processes (ddp)" in text


def test_a_process_of_a_job_that_srun_did_not_start_is_alone(environment, recipe, tmp_path):
    """A batch script with two tasks that leaves out `srun` would else wait for the second for ever."""
    run, script = tmp_path / "run", tmp_path / "job.sh"
    script.write_text(
        f"#!/bin/bash\n#SBATCH --nodes=2 --ntasks-per-node=1 --output={tmp_path}/out\n"
        f"{sys.executable} -m sensorium train {recipe} train.steps=2 --no-evaluate --run-dir {run}\n"
    )
    job = call(environment, "sbatch", "--parsable", str(script)).strip()
    wait_for(lambda: not jobs(environment, job), lambda: (tmp_path / "out").read_text())
    assert json.loads((run / "run.json").read_text())["state"] == "finished"


def test_evaluation_under_srun_is_shared(environment, recipe, tmp_path):
    run = tmp_path / "run"
    job = submit(environment, recipe, run, "train.steps=2")
    wait_for(lambda: not jobs(environment, job), lambda: "training")
    (run / "evaluations" / "health.json").unlink()
    srun = ["srun", "--nodes=2", "--ntasks-per-node=1", sys.executable, "-m", "sensorium", "evaluate", str(run)]
    said = call(environment, *srun, "--device", "cpu")
    assert said.count("## health") == 1
    assert (run / "evaluations" / "health.json").exists()
