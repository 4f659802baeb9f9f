"""Everything that a training holds, made before its first step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sensorium import collectives
from sensorium.assembly import Plan
from sensorium.checkpoint import Checkpoints, restore
from sensorium.contracts import Source
from sensorium.data.bad import BadRecords
from sensorium.data.decoding import raw_value
from sensorium.data.loader import Loader
from sensorium.data.mined import MinedSource
from sensorium.errors import BadSample, RecipeError, RunError
from sensorium.learner import Learner
from sensorium.model import Model
from sensorium.monitor.collapse import CollapseAlarm
from sensorium.monitor.gallery import draw_gallery
from sensorium.monitor.metrics import Metrics
from sensorium.monitor.nonfinite import Guard
from sensorium.monitor.progress import Meter, ProgressLine
from sensorium.optim import build_optimizer
from sensorium.options import options_of
from sensorium.randomness import generator
from sensorium.recipe.schema import Recipe
from sensorium.run import Run
from sensorium.start import Start

log = logging.getLogger("sensorium")
Evaluate = Callable[[Model], dict[str, float]]
"""Measures a model on the val part; returns figures by name."""


@dataclass
class Intervals:
    """Which steps (counted from 1) are due for what."""

    log: Callable[[int], bool]
    look: Callable[[int], bool]
    evaluate: Callable[[int], bool]
    checkpoint: Callable[[int], bool]


@dataclass
class Training:
    """The parts of one training on one rank; `sensorium.trainer` drives it."""

    plan: Plan
    run: Run
    fabric: Fabric
    learner: Learner
    module: Any
    optimizer: Any
    average: AveragedModel | None
    loader: Loader
    checkpoints: Checkpoints
    meter: Meter
    alarm: CollapseAlarm
    guard: Guard
    steps: int
    step: int = 0
    metrics: Metrics | None = None
    line: ProgressLine | None = None
    evaluate: Evaluate | None = None
    negatives: dict[str, str] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return self.plan.recipe

    @property
    def device(self) -> torch.device:
        """Where this rank computes."""
        return self.fabric.device

    def intervals(self) -> Intervals:
        """Return which steps are due for logging, evaluation and a checkpoint; the last step is due for all."""
        epoch = self.loader.steps_per_epoch

        def due(every: int | None) -> Callable[[int], bool]:
            return lambda step: every is not None and (step % every == 0 or step == self.steps)

        evaluate = self.recipe.evaluate.every
        return Intervals(
            log=due(self.recipe.log.every),
            look=due(self.recipe.monitor.every),
            evaluate=due(max(round(evaluate * epoch), 1) if evaluate and self.evaluate else None),
            checkpoint=due(max(round(self.recipe.checkpoint.every * epoch), 1)),
        )

    def report(self, figures: dict[str, float]) -> None:
        """Write and show figures of the current step (rank 0)."""
        if self.metrics is not None:
            self.metrics.write(self.step, figures)
        if self.line is not None and "records_per_second" in figures:
            self.line.show(self.step, figures)

    def model(self) -> Model | None:
        """Return the model as evaluation and export see it, on rank 0; collective under distribution."""
        if self.average is not None:
            return Model(self.plan, self.average.module) if self.fabric.is_global_zero else None
        if self.recipe.train.strategy != "fsdp":
            return Model(self.plan, self.learner) if self.fabric.is_global_zero else None
        weights = get_model_state_dict(self.learner, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        if not self.fabric.is_global_zero:
            return None
        return Model(self.plan, self.plan.learner()).load_weights(weights, "this run").to(self.device)

    def evaluate_on_val(self) -> None:
        """Measure the model on the val part, and mark the checkpoint when it is the best so far."""
        model = self.model()
        if model is not None and self.evaluate is not None:
            figures = self.evaluate(model)
            self.report({f"val/{name}": value for name, value in figures.items()})
            log.info("step %d · %s", self.step, " · ".join(f"{n} {v:.4f}" for n, v in figures.items()))
        else:
            figures = {}
        self._keep_if_best(collectives.broadcast(figures))
        self.meter.read()

    def _keep_if_best(self, figures: dict[str, float]) -> None:
        name = self.recipe.checkpoint.best
        if name is None:
            return
        if name not in figures:
            raise RecipeError(f"checkpoint.best is '{name}', but the evaluation gives: {', '.join(figures)}.")
        sign = 1.0 if self.recipe.checkpoint.mode == "max" else -1.0
        best = self.checkpoints.best()
        if best is None or sign * figures[name] > sign * best["figure"]:
            self.save()
            if self.fabric.is_global_zero:
                self.checkpoints.mark_best(self.step, figures[name])
            collectives.barrier()

    def save(self) -> None:
        """Write a checkpoint of the current step; collective under distribution."""
        extra: dict[str, Any] = {"precision": self.fabric.strategy.precision.state_dict()}
        if self.average is not None:
            extra["average"] = self.average.state_dict()
        self.checkpoints.save(self.step, self.learner, self.optimizer.optimizer, extra)
        if self.fabric.is_global_zero:
            self.run.update(state="running", step=self.step, steps=self.steps)

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint; collective under distribution."""
        restore(state, self.learner, self.optimizer.optimizer)
        self.fabric.strategy.precision.load_state_dict(state["extra"]["precision"])
        if self.average is not None:
            self.average.load_state_dict(state["extra"]["average"])
        self.step = state["step"]

    def close(self) -> None:
        """Finish what is shown and written."""
        for open_thing in (self.metrics, self.line):
            if open_thing is not None:
                open_thing.close()


def prepare(
    plan: Plan,
    source: Source,
    positions: np.ndarray,
    run: Run,
    fabric: Fabric,
    resume: bool,
    evaluate: Evaluate | None,
) -> Training:
    """Make everything that a training holds, on every rank.

    Args:
        plan: the parts of the recipe.
        source: where records come from.
        positions: which of its records are the train part.
        run: the run folder.
        fabric: launched.
        resume: continue from the latest readable checkpoint.
        evaluate: measures a model on the val part.

    Raises:
        RunError: when there is nothing to resume from.
    """
    recipe = plan.recipe
    loader, negatives = feed(
        plan,
        source,
        positions,
        bad=BadRecords(len(positions), recipe.data.max_bad, run.bad_file),
        workers=recipe.data.workers,
        cache=recipe.data.cache,
        device=fabric.device,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    start = Start(recipe.train.start) if recipe.train.start is not None and not resume else None
    restore_modalities(plan, run, lambda name: _raws(plan, source, positions, name), start)
    learner = _learner(plan, start)
    module, optimizer, average = _on_device(fabric, learner, recipe)
    learner.train()
    steps = recipe.train.steps or max(round(recipe.train.epochs * loader.steps_per_epoch), 1)
    checkpoints = Checkpoints(run.checkpoints, recipe.checkpoint.keep)
    step = 0
    if resume:
        state = checkpoints.latest()
        if state is None:
            raise RunError(f"{run.folder} has no checkpoint that can be read: start the run anew in another folder.")
        step = state["step"]
    training = Training(
        plan,
        run,
        fabric,
        learner,
        module,
        optimizer,
        average,
        loader,
        checkpoints,
        Meter(recipe.data.batch),
        CollapseAlarm(recipe.monitor, [option.name for option in options_of(type(learner.objective))]),
        Guard(fabric, learner, optimizer.optimizer, run.nonfinite, recipe.monitor.skips, step),
        steps,
        step,
        evaluate=evaluate,
        negatives=negatives,
    )
    if resume:
        training.load(state)
    if fabric.is_global_zero:
        training.metrics = Metrics(run, recipe, training.step)
        training.line = ProgressLine(steps, training.step)
        if not resume:
            _draw_first_batch(training)
    return training


def feed(plan: Plan, source: Source, positions: np.ndarray, **place: Any) -> tuple[Loader, dict[str, str]]:
    """Return what feeds the steps of a run on one rank: the same records wherever, and however often, it is made.

    Args:
        plan: the parts of the recipe.
        source: where records come from.
        positions: which of its records are the train part.
        place: what `Loader` is told of the process that it feeds, and of its bad records.

    Returns:
        The loader, and the fields of mined negatives, each with the modality whose values they hold.
    """
    recipe, negatives = plan.recipe, dict[str, str]()
    if recipe.data.negatives is not None:
        source = MinedSource(source, recipe.data.negatives.path, recipe.data.negatives.count)
        source.keep_within(positions)
        negatives = source.negatives(plan.fields)
    loader = Loader(
        source,
        positions,
        plan.fields | {name: name for name in negatives},
        plan.modalities | {name: plan.modalities[of] for name, of in negatives.items()},
        seed=recipe.seed,
        batch=recipe.data.batch,
        accumulate=recipe.train.accumulate,
        stages=plan.generators | {name: plan.generators[of] for name, of in negatives.items()},
        require="any",
        neighbours=recipe.data.neighbours,
        **place,
    )
    return loader, negatives


def restore_modalities(
    plan: Plan, run: Run, raws_of: Callable[[str], Iterator[Any]], start: Start | None = None
) -> None:
    """Let modalities learn from the train part on rank 0, once in the life of a run, and share what they learned.

    What a modality had learned in the run that this one starts from holds here too.
    """
    for name, modality in plan.modalities.items():
        state = None
        if collectives.rank() == 0:
            state = run.kept_state(name)
            if state is None:
                state = start.learned(name) if start is not None else None
                if state is None:
                    if not modality.fitted:
                        modality.fit(raws_of(name))
                    state = modality.state()
                run.keep_state(name, state)
        modality.load_state(collectives.broadcast(state))


def _raws(plan: Plan, source: Source, positions: np.ndarray, name: str) -> Iterator[Any]:
    """Iterate over the raw values of one modality; records that cannot be read are left to the loader to count."""
    for position in positions:
        try:
            raw = raw_value(source[int(position)], plan.fields[name], plan.modalities[name], source)
        except BadSample:
            continue
        if raw is not None:
            yield raw


def _learner(plan: Plan, start: Start | None) -> Learner:
    """Return the learner with the weights that training begins with."""
    if start is None:
        return plan.learner()
    learner = plan.learner(start.fill)
    start.carry_on(learner, plan.recipe.objective.name)
    return learner


def _on_device(fabric: Fabric, learner: Learner, recipe: Recipe) -> tuple[Any, Any, AveragedModel | None]:
    """Move the learner to its device, wrapped for its strategy, and make optimizer and averaged weights."""
    average = None
    if recipe.train.ema is not None:
        if recipe.train.strategy == "fsdp":
            raise RecipeError(
                "train.ema keeps a whole copy of the weights, which strategy fsdp shards: use ddp, or no ema."
            )
        average = AveragedModel(learner, device=fabric.device, multi_avg_fn=get_ema_multi_avg_fn(recipe.train.ema))
    compiled: Any = torch.compile(learner) if recipe.train.compile else learner
    module = fabric.setup_module(compiled)
    optimizer = fabric.setup_optimizers(build_optimizer(learner, recipe.optimizer))
    return module, optimizer, average


def _draw_first_batch(training: Training) -> None:
    recipe = training.recipe
    first = next(iter(training.loader.batches(0, 1)))[0]
    rng = generator(recipe.seed, "views", 0, 0, 0, device=training.device)
    picture = draw_gallery(first, training.plan.modalities, training.plan.generators, rng, recipe.log.gallery)
    picture.save(training.run.gallery_file)
