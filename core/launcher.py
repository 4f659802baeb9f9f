"""Who starts the processes of a training: torchrun, SLURM's srun, another launcher, or the first process itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from sensorium.errors import RecipeError

HIGHEST_STEP = 0xFFFFFF00
"""Steps of a SLURM job that are no `srun` (the batch script, an interactive shell) have numbers from here on."""


@dataclass(frozen=True)
class Launcher:
    """Who started this process, and beside which others.

    Args:
        name: torchrun, "fabric run", srun, environment (the variables `RANK` and `WORLD_SIZE`, set by whoever it was),
            or none: the first process of a node starts the others.
        rank: of this process; under "none" 0 for the first of all, and any other number for the others.
        processes: of all nodes; 1 under "none", whose recipe says how many.
        local_processes: of this node.
        nodes: how many nodes there are.
    """

    name: str
    rank: int = 0
    processes: int = 1
    local_processes: int = 1
    nodes: int = 1

    @property
    def starts_all(self) -> bool:
        """Whether it starts every process; else the first one of a node starts the others."""
        return self.name != "none"

    def unused(self, devices: int | str, nodes: int) -> str | None:
        """Return a sentence about `train.devices` and `train.nodes` of a recipe that the launcher stands for.

        Args:
            devices: of the recipe; 1 is its default.
            nodes: likewise.
        """
        sizes = {"train.devices": (devices, self.local_processes), "train.nodes": (nodes, self.nodes)}
        differ = [f"{key}={asked}" for key, (asked, given) in sizes.items() if asked not in (1, "auto", given)]
        if not self.starts_all or not differ:
            return None
        return (
            f"{self.name} has started {self.local_processes} processes on each of {self.nodes} nodes: "
            f"{' and '.join(differ)} of the recipe {'are' if len(differ) > 1 else 'is'} not used"
        )

    def check(self) -> None:
        """Raise an error for processes that are spread unevenly over nodes.

        Raises:
            RecipeError: with what to do.
        """
        if self.local_processes * self.nodes != self.processes:
            option = "--ntasks-per-node" if self.name == "srun" else "--nproc-per-node"
            raise RecipeError(
                f"{self.name} started {self.processes} processes on {self.nodes} nodes, {self.local_processes} of them "
                f"on this one: start equally many on every node, with {option}."
            )


def find_launcher(environ: Mapping[str, str] = os.environ) -> Launcher:
    """Return who started this process, by what launchers leave in the environment."""

    def number(name: str, default: int = 1) -> int:
        return int(environ[name]) if environ.get(name, "").isdigit() else default

    if "TORCHELASTIC_RUN_ID" in environ:
        name = "fabric run" if "LT_CLI_USED" in environ else "torchrun"
        sizes = number("WORLD_SIZE"), number("LOCAL_WORLD_SIZE"), number("GROUP_WORLD_SIZE")
        return Launcher(name, number("RANK", 0), *sizes)
    if number("SLURM_STEP_ID", HIGHEST_STEP) < HIGHEST_STEP and number("SLURM_STEP_NUM_TASKS") > 1:
        local = environ.get("SLURM_STEP_TASKS_PER_NODE", "1").split(",")[0].partition("(")[0]
        sizes = number("SLURM_STEP_NUM_TASKS"), int(local), number("SLURM_STEP_NUM_NODES")
        return Launcher("srun", number("SLURM_PROCID", 0), *sizes)
    if "RANK" in environ and number("WORLD_SIZE") > 1:
        world, local_size = number("WORLD_SIZE"), number("LOCAL_WORLD_SIZE")
        return Launcher("environment", number("RANK"), world, local_size, -(-world // local_size))
    return Launcher("none", number("LOCAL_RANK", 0) + number("NODE_RANK", 0))
