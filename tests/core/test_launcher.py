"""Who started the processes of a training, by what launchers leave in the environment."""

import os

import pytest

from sensorium.errors import RecipeError
from sensorium.launcher import Launcher, find_launcher
from sensorium.recipe.schema import Train
from sensorium.training.fabric import build_fabric

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


@pytest.fixture(autouse=True)
def environment_is_left_as_it_was():
    """Lightning and the launch write into the environment what processes that are started later would read."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


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


def test_what_a_recipe_says_of_processes_is_said_to_be_unused_where_it_differs():
    started = Launcher("torchrun", 0, 4, 2, 2)
    assert started.unused(1, 1) is None
    assert started.unused(2, 2) is None
    assert started.unused("auto", 1) is None
    assert Launcher("none").unused(8, 4) is None
    said = (
        "torchrun has started 2 processes on each of 2 nodes: train.devices=8 and train.nodes=4 of the recipe are not"
    )
    assert started.unused(8, 4) == f"{said} used"
    assert "train.devices=8 of the recipe is not used" in started.unused(8, 2)


def test_several_nodes_without_an_address_are_refused(monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    asked = Train(epochs=1, nodes=2, accelerator="cpu")
    with pytest.raises(RecipeError, match=r"nothing says where the other nodes are: .* set MASTER_ADDR, MASTER_PORT"):
        build_fabric(asked)
    for name, value in {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert build_fabric(asked).strategy.num_nodes == 2
    assert find_launcher().rank != 0, "the second node writes no run folder"


def test_an_allocation_without_srun_is_a_machine_like_any_other(monkeypatch):
    """Fabric by itself would wait for the other tasks of the allocation."""
    for name, value in (ALLOCATION | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}).items():
        monkeypatch.setenv(name, value)
    assert build_fabric(Train(epochs=1, accelerator="cpu", devices=2)).strategy.num_processes == 2


def test_the_tasks_of_srun_are_the_processes(monkeypatch):
    for name, value in (STEP | {"SLURM_NODEID": "1", "SLURM_NODELIST": "n[1-2]"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    strategy = build_fabric(Train(epochs=1, accelerator="cpu")).strategy
    assert (strategy.num_nodes, strategy.num_processes) == (2, 4)
    assert strategy.cluster_environment.global_rank() == 5
    assert strategy.cluster_environment.main_address == "n1"
