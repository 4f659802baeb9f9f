"""Metrics of a run: JSON lines, TensorBoard, Weights & Biases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sensorium.errors import PluginError, RunError
from sensorium.recipe.schema import Recipe
from sensorium.runs.atomic import not_written, write_atomically
from sensorium.runs.run import Run


class MetricsLog:
    """Writes metrics to every logger of a recipe; one object, on rank 0.

    Args:
        run: the run folder.
        recipe: its `log.tensorboard` and `log.wandb` add loggers beside `metrics.jsonl`.
        step: the step to start from; lines of later steps, from before a resume, are dropped.
    """

    def __init__(self, run: Run, recipe: Recipe, step: int) -> None:
        self._drop_after(run, step)
        self._lines = open(run.metrics_file, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._board: Any = None
        self._wandb: Any = None
        if recipe.log.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run.tensorboard), purge_step=step + 1 if step else None)
        if recipe.log.wandb:
            try:
                import wandb
            except ImportError as error:
                raise PluginError(
                    "log.wandb needs wandb, which is not installed: pip install 'sensorium[wandb]'."
                ) from error
            self._wandb = wandb.init(
                project=recipe.log.wandb, name=run.folder.name, dir=run.folder, config=recipe.plain(), resume="allow"
            )

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of one step.

        Raises:
            RunError: when the disk refuses.
        """
        line = json.dumps({"step": step, **metrics}) + "\n"
        try:
            self._lines.write(line)
            self._lines.flush()
        except OSError as error:
            raise RunError(not_written(Path(self._lines.name), error)) from error
        if self._board is not None:
            for name, value in metrics.items():
                self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(dict(metrics), step=step)

    def close(self) -> None:
        """Close the loggers."""
        with suppress(OSError):  # of a full disk, of which `write` has told
            self._lines.close()
        if self._board is not None:
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()

    @staticmethod
    def _drop_after(run: Run, step: int) -> None:
        if not run.metrics_file.exists():
            return
        lines = run.metrics_file.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _step_of(line) <= step]
        text = "".join(line + "\n" for line in kept)
        write_atomically(run.metrics_file, lambda path: path.write_text(text, encoding="utf-8"))


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):  # a line cut off in mid-write
        return float("inf")
