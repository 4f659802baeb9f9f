"""Who started the processes of a training, by what launchers leave in the environment."""

import pytest

from sensorium.errors import RecipeError
from sensorium.launcher import Launcher, find_launcher

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x",
    "RANK": "9",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "16",
    "LOCAL_WORLD_SIZE": "8",
    "GROUP_WORLD_SIZE": "2",
}
ALLOCATION = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "8", "SLURM_NNODES": "2"}
STEP = ALLOCATION | {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}


@pytest.mark.parametrize(
    ("environ", "launcher"),
    [
        ({}, Launcher("none")),
        (TORCHRUN, Launcher("torchrun", 9, 16, 8, 2)),
        (TORCHRUN | {"LT_CLI_USED": "1"}, Launcher("fabric run", 9, 16, 8, 2)),
        (STEP, Launcher("srun", 5, 8, 4, 2)),
        (STEP | TORCHRUN, Launcher("torchrun", 9, 16, 8, 2)),
        ({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "pod-0"}, Launcher("environment", 1, 2, 1, 2)),
        ({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, Launcher("environment", 5, 8, 4, 2)),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, Launcher("none", 1)),
        ({"NODE_RANK": "1"}, Launcher("none", 1)),
    ],
    ids=["none", "torchrun", "fabric run", "srun", "torchrun in srun", "PyTorchJob", "mpirun", "child", "second node"],
)
def test_a_launcher_is_known_by_what_it_leaves_in_the_environment(environ, launcher):
    assert find_launcher(environ) == launcher


@pytest.mark.parametrize(
    "environ",
    [
        ALLOCATION | {"SLURM_PROCID": "0"},
        ALLOCATION | {"SLURM_PROCID": "0", "SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "8"},
        STEP | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_TASKS_PER_NODE": "1"},
    ],
    ids=["batch script", "interactive shell", "srun of one task"],
)
def test_a_process_of_a_slurm_job_is_alone_unless_srun_started_others(environ):
    assert find_launcher(environ | {"SLURM_PROCID": "0"}) == Launcher("none")


def test_processes_that_are_spread_unevenly_are_refused():
    with pytest.raises(RecipeError, match=r"srun started 3 processes on 2 nodes, 2 of them on this one: .*-per-node"):
        Launcher("srun", 0, 3, 2, 2).check()
    Launcher("srun", 0, 4, 2, 2).check()
