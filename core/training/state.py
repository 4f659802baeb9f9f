"""The state of a training on one rank: its parts, which steps are due for what, checkpoints and evaluation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from sensorium.contracts import Ending
from sensorium.data.loader import Loader
from sensorium.errors import EvaluationError, Interrupted, RunError
from sensorium.models.cut import Cut, Cutter
from sensorium.models.learner import Absent, Learner, Views, make_views
from sensorium.models.model import Model
from sensorium.models.plan import Plan
from sensorium.parallel import collectives
from sensorium.recipe.schema import Recipe
from sensorium.runs.checkpoint import Checkpoints
from sensorium.runs.checkpoint_contents import Checkpoint
from sensorium.runs.run import Run
from sensorium.seeding import generator
from sensorium.training.callbacks import Callbacks
from sensorium.training.collapse_alarm import CollapseAlarm
from sensorium.training.finite_guard import Guard
from sensorium.training.learning_rate import LearningRate
from sensorium.training.metrics import MetricsLog
from sensorium.training.progress import Meter, ProgressLine
from sensorium.training.weight_average import WeightAverage
from sensorium.types import RecordBatch

log = logging.getLogger("sensorium")
Evaluate = Callable[[Model], dict[str, float]]
"""Measures a model on the val part; returns metrics by name, the same on every rank. Collective."""


@dataclass
class Intervals:
    """Which steps (counted from 1) are due for what."""

    log: Callable[[int], bool]
    look: Callable[[int], bool]
    evaluate: Callable[[int], bool]
    checkpoint: Callable[[int], bool]


@dataclass
class TrainingState:
    """The parts of one training on one rank; `sensorium.training.loop` drives it."""

    plan: Plan
    run: Run
    fabric: Fabric
    learner: Learner
    module: Any
    optimizer: Any
    average: WeightAverage | None
    loader: Loader
    absent: dict[str, Absent]
    cutter: Cutter | None
    checkpoints: Checkpoints
    meter: Meter
    alarm: CollapseAlarm
    guard: Guard
    lr: LearningRate
    callbacks: Callbacks
    steps: int
    step: int = 0
    metrics: MetricsLog | None = None
    line: ProgressLine | None = None
    evaluate: Evaluate | None = None
    best: float | None = None
    """The metric of the current step, when it is the best so far."""
    losses: list[Tensor] = field(default_factory=list)
    """Of the steps since the last line of metrics."""

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return self.plan.recipe

    @property
    def device(self) -> torch.device:
        """Where this rank computes."""
        return self.fabric.device

    @property
    def evaluates(self) -> bool:
        """Whether the model is evaluated during the training."""
        return self.recipe.evaluate.every is not None and self.evaluate is not None

    def intervals(self) -> Intervals:
        """Return which steps are due for logging, evaluation and a checkpoint; the last step is due for all."""
        epoch = self.loader.steps_per_epoch

        def due(every: int | None) -> Callable[[int], bool]:
            return lambda step: every is not None and (step % every == 0 or step == self.steps)

        evaluate = self.recipe.evaluate.every if self.evaluates else None
        return Intervals(
            log=due(self.recipe.log.every),
            look=due(self.recipe.monitor.every),
            evaluate=due(max(round(evaluate * epoch), 1) if evaluate else None),
            checkpoint=due(max(round(self.recipe.checkpoint.every * epoch), 1)),
        )

    def cuts(self, parts: Sequence[RecordBatch]) -> Sequence[Cut | None]:
        """Return which rows of the whole batch each part of a step has; None of one that is not cut; collective."""
        return [None] * len(parts) if self.cutter is None or not parts else self.cutter.cuts(parts)

    def views(self, step: int, part: RecordBatch, cut: Cut | None) -> Views:
        """Return the views of a part of a step: cut of those of the whole batch, whatever the number of ranks."""
        rng = generator(self.recipe.seed, "views", step, 0, 0, device=self.device)
        return make_views(part, self.plan.generators, rng, self.absent, cut)

    def report(self, metrics: dict[str, float]) -> None:
        """Write and show metrics of the current step (rank 0), and those that callbacks have logged."""
        metrics = self.callbacks.noted(metrics)
        if self.metrics is not None:
            self.metrics.write(self.step, metrics)
        if self.line is not None and "records_per_second" in metrics:
            self.line.show(self.step, metrics)

    def model(self) -> Model:
        """Return the model as evaluation and export see it, whole and the same on every rank; collective."""
        if self.recipe.train.strategy == "fsdp":
            weights = get_model_state_dict(self.learner, options=StateDictOptions(full_state_dict=True))
            return (
                Model(self.plan, self.plan.learner(pretrained=False)).load_weights(weights, "this run").to(self.device)
            )
        learner = self.learner if self.average is None else self.average.read()
        if not self.recipe.train.sync_batch_norm:  # each rank has running statistics of its own
            collectives.broadcast_buffers(learner)
        return Model(self.plan, learner)

    def evaluate_on_val(self) -> None:
        """Measure the model on the val part, and note when it is the best so far, for `save`; collective.

        A metric that could not be measured leaves the best checkpoint as it is.
        """
        assert self.evaluate is not None, "evaluation during training is asked for"
        self.callbacks.call("before_evaluation")
        metrics = self.evaluate(self.model())
        self.report({f"val/{name}": value for name, value in metrics.items()})
        if self.fabric.is_global_zero:
            shown = " · ".join(
                f"{name} {metrics[name]:.4f}" for name in _headline(metrics, self.recipe.checkpoint.best)
            )
            log.info("step %d · %s", self.step, shown, extra={"indent": 2})
        self.callbacks.call("after_evaluation", metrics)  # before the checkpoint, which keeps their state
        self._note_if_best(metrics)
        self.meter.read()

    def _note_if_best(self, metrics: dict[str, float]) -> None:
        name = self.recipe.checkpoint.best
        if name is None:
            return
        if name not in metrics:  # its evaluator failed, of which the evaluation has warned
            return
        sign = 1.0 if self.recipe.checkpoint.mode == "max" else -1.0
        best = self.checkpoints.best()
        if best is None or sign * metrics[name] > sign * best["metric"]:
            self.best = metrics[name]

    def save(self) -> None:
        """Write a checkpoint of the current step, or begin to; collective under distribution."""
        self.finish_checkpoint()
        self.callbacks.call("before_checkpoint")
        extra: dict[str, Any] = {
            "precision": self.fabric.strategy.precision.state_dict(),
            "recipe": self.recipe.plain(),
        }
        if self.average is not None:
            extra["average"] = self.average.state_dict()
        extra |= {"alarm": self.alarm.state_dict(), "losses": self._pending_losses(), "best": self.best}
        if self.plan.taught_by:
            extra["teachers"] = {name: report.digest for name, report in self.plan.taught_by.items()}
        if self.callbacks.made:
            extra["callbacks"] = self.callbacks.state_dict()
        self.checkpoints.begin(self.step, self.learner, self.optimizer.optimizer, extra, self.best)
        self.best = None
        if not self.checkpoints.asynchronous:
            self.finish_checkpoint()

    def finish_checkpoint(self, last: bool = False) -> None:
        """Make what was begun a checkpoint, when all ranks have written it; collective under distribution.

        Args:
            last: whether the training stops now, so that a checkpoint that could not be written is an error, as it is
                to a training that waits for each.
        """
        step = self.checkpoints.pending
        if step is None:
            return
        try:
            self.checkpoints.finish()
        except RunError as error:
            if last or not self.checkpoints.asynchronous:
                raise
            if self.fabric.is_global_zero:
                log.warning("%s The training goes on without the checkpoint of step %d.", error, step)
            return
        if self.fabric.is_global_zero:
            self.run.update(state="running", step=step, steps=self.steps)
        self.callbacks.call("after_checkpoint", self.checkpoints.path(step))

    def load(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint; collective under distribution."""
        checkpoint.restore(self.learner, self.optimizer.optimizer)
        if scale := checkpoint.extra("precision"):  # of the loss; another precision has none
            self.fabric.strategy.precision.load_state_dict(scale)
        if self.average is not None:
            self.average.load_state_dict(checkpoint.extra("average"))
        self.alarm.load_state_dict(checkpoint.extra("alarm", {"start": checkpoint.extra("start", {})}))
        self._load_losses(checkpoint.extra("losses", []))
        if (best := checkpoint.extra("best")) is not None and self.fabric.is_global_zero:
            self.checkpoints.mark_best(checkpoint.step, best)  # a kill may have come before the mark
        self.step = self.callbacks.training.step = checkpoint.step
        if kept := checkpoint.extra("callbacks"):
            before = checkpoint.extra("recipe").get("callbacks", {})
            now = self.recipe.plain()["callbacks"]
            self.callbacks.load_state_dict(kept, {name for name in now if now[name] != before.get(name)})

    def _pending_losses(self) -> list[list[float]]:
        """Return the losses of the steps since the last line of metrics, of each rank; collective."""
        own = torch.stack(self.losses).tolist() if self.losses else []
        return collectives.all_gather_objects(own)

    def _load_losses(self, kept: Sequence[Sequence[float]]) -> None:
        """Take over such losses; of another number of ranks each has their mean."""
        ranks = [list(kept[self.fabric.global_rank])] if len(kept) == self.fabric.world_size else kept
        means = [sum(of_step) / len(ranks) for of_step in zip(*ranks, strict=True)]
        self.losses = list(torch.tensor(means, device=self.device).unbind())

    def log_table(self, name: str, metrics: Mapping[str, float]) -> None:
        """Give the metrics and files of a table of the final evaluation to the loggers (rank 0)."""
        if self.metrics is not None:
            self.metrics.log(self.step, {f"test/{name}/{metric}": value for metric, value in metrics.items()})
            for path in sorted(self.run.evaluations.glob(f"{name}.*")):
                self.metrics.log_file(path)

    def close(self, ending: Ending) -> None:
        """Finish what is shown and written."""
        if self.line is not None:
            self.line.close()
        if self.metrics is not None:
            self.metrics.close(ending)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Finish what is shown and written; loggers are told how the training ended."""
        is_done = kind is None or issubclass(kind, EvaluationError)  # whose model is kept
        is_stopped = kind is not None and issubclass(kind, Interrupted | KeyboardInterrupt)
        if not is_done and kind is not KeyboardInterrupt and self.fabric.world_size == 1:
            with suppress(RunError):  # other ranks may be anywhere: theirs is left to be swept
                self.checkpoints.finish()
        self.close("finished" if is_done else "interrupted" if is_stopped else "failed")


def _headline(metrics: Mapping[str, float], best: str | None) -> list[str]:
    """Return the metrics to show: the first of each evaluator, and `best`; metrics.jsonl has all."""
    firsts: dict[str, str] = {}
    for name in metrics:
        firsts.setdefault(name.partition("/")[0], name)
    return [name for name in metrics if name in firsts.values() or name == best]
