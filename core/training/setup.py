"""Set-up of a training: everything that it needs before its first step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from sensorium import contracts
from sensorium.blocks.sum import Sum
from sensorium.contracts import Encoder, Modality, Source
from sensorium.data.decoding import learned_from, raw_values
from sensorium.data.patience import Patience
from sensorium.data.unreadable import UnreadableRecords
from sensorium.errors import RecipeError
from sensorium.models.learner import Learner, Views
from sensorium.models.plan import Plan
from sensorium.parallel import batch_norm
from sensorium.parallel.rank_zero import on_rank_zero
from sensorium.runs.checkpoint import Checkpoints
from sensorium.runs.run import Run
from sensorium.seeding import generator
from sensorium.training.callbacks import Callbacks
from sensorium.training.collapse_alarm import CollapseAlarm
from sensorium.training.feed import absent_views, cutter, feed, first_views
from sensorium.training.finite_guard import Guard
from sensorium.training.gallery import draw_gallery
from sensorium.training.gradient_checkpointing import checkpoint_blocks
from sensorium.training.handed_in import measure_modules, note_learning_rate, warn_of_joint_draws
from sensorium.training.learning_rate import LearningRate
from sensorium.training.metrics import MetricsLog
from sensorium.training.progress import Meter, ProgressLine
from sensorium.training.resumption import Resumption
from sensorium.training.state import Evaluate, TrainingState
from sensorium.training.warm_start import WarmStart, first_learner
from sensorium.training.weight_average import WeightAverage

log = logging.getLogger("sensorium")
LARGE = 10**9
"""Bytes of weights above which several processes write sharded checkpoints: with the optimizer's two moments, a file
of more than 3 GB, which rank 0 would gather and write alone."""


def prepare(
    plan: Plan,
    source: Source,
    positions: np.ndarray,
    run: Run,
    fabric: Fabric,
    resumed: Resumption | None,
    evaluate: Evaluate | None,
    unreadable: UnreadableRecords,
) -> TrainingState:
    """Make everything that a training needs, on every rank.

    Args:
        plan: the parts of the recipe.
        source: where records come from.
        positions: which of its records are the train part.
        run: the run folder.
        fabric: launched.
        resumed: what to continue from; None for a training that begins.
        evaluate: measures a model on the val part.
        unreadable: reports unreadable values of the run.
    """
    recipe = plan.recipe
    loader = feed(
        plan,
        source,
        positions,
        bad=unreadable,
        workers=recipe.data.workers,
        cache=recipe.data.cache,
        cache_dir=recipe.data.cache_dir,
        device=fabric.device,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    start = WarmStart(recipe.train.warm_start) if recipe.train.warm_start is not None and resumed is None else None
    patience = Patience(recipe.data.retries, recipe.data.timeout)

    def raws_of(name: str) -> Iterator[Any]:
        field, modality = plan.fields[name], plan.modalities[name]
        rows = learned_from(source, positions, field, modality)
        if len(rows) == modality.fits:
            log.info("%s learns from %s of %s records", name, f"{len(rows):,}", f"{len(positions):,}")
        return raw_values(source, rows, field, modality, patience)

    restore_modalities(plan, run, raws_of, start)
    if measure_modules(plan, loader):
        on_rank_zero(run.keep_recipe, plan.recipe)
    on_rank_zero(warn_of_joint_draws, plan, loader)
    learner = _learner(plan, run, start, resumed)
    if resumed is None and learner.objective.fits:
        place = {"workers": recipe.data.workers, "device": fabric.device, "bad": unreadable}
        shown = partial(first_views, plan, source, positions, learner.objective.fits, **place)
        fit_objective(learner, shown, fabric.device)
    if resumed is None and plan.started_from:
        on_rank_zero(run.update, weights={name: asdict(report) for name, report in plan.started_from.items()})
    if resumed is None and start is None:
        on_rank_zero(_warn_of_frozen_random_weights, plan)
    started = on_rank_zero(lambda: list(run.status().get("weights", {})))  # of one that is resumed, too
    module, optimizer, average = _on_device(fabric, learner, plan)
    if note_learning_rate(plan, optimizer.param_groups):
        on_rank_zero(run.keep_recipe, plan.recipe)
    learner.train()
    steps = recipe.train.steps or max(round(recipe.train.epochs * loader.steps_per_epoch), 1)
    sharded = shards_checkpoints(recipe.checkpoint.format, learner, fabric.world_size)
    checkpoints = Checkpoints(run.checkpoints, recipe.checkpoint.keep, sharded, recipe.checkpoint.asynchronous)
    step = 0 if resumed is None else resumed.step
    training = TrainingState(
        plan,
        run,
        fabric,
        learner,
        module,
        optimizer,
        average,
        loader,
        absent_views(plan, loader, fabric.device),
        cutter(plan, loader, fabric.world_size),
        checkpoints,
        Meter(recipe.data.batch),
        _alarm(plan, learner, started),
        Guard(fabric, learner, optimizer.optimizer, run.nonfinite, recipe.monitor.skips, step, sharded),
        LearningRate(optimizer.optimizer, plan.optimization, steps),
        _callbacks(plan, run, fabric, learner, optimizer, (steps, loader.steps_per_epoch)),
        steps,
        step,
        evaluate=evaluate,
    )
    if resumed is not None:
        training.load(resumed.checkpoint)
    if fabric.is_global_zero:
        training.metrics = MetricsLog(run, plan.loggers, recipe.plain(), training.step)
        training.line = ProgressLine(steps, training.step)
    if resumed is None:
        on_rank_zero(_draw_first_batch, training)
    return training


def shards_checkpoints(format: str, learner: nn.Module, ranks: int) -> bool:
    """Return whether a training writes sharded checkpoints.

    Args:
        format: `checkpoint.format`.
        learner: what is trained.
        ranks: number of processes.
    """
    if format == "auto":
        return ranks > 1 and sum(weight.numel() * weight.element_size() for weight in learner.parameters()) > LARGE
    return format == "sharded"


def _learner(plan: Plan, run: Run, start: WarmStart | None, resumed: Resumption | None) -> Learner:
    """Make the learner, with its first weights where no checkpoint follows, and with its frozen teachers."""
    teachers = plan.load_teachers()
    if resumed is not None:
        resumed.check_teachers(plan.taught_by)
    if teachers:
        on_rank_zero(run.keep_recipe, plan.recipe)
        on_rank_zero(run.update, teachers={name: asdict(report) for name, report in plan.taught_by.items()})
    if resumed is not None:
        return plan.learner(pretrained=False, teachers=teachers)
    return first_learner(plan, start, teachers=teachers)


def fit_objective(learner: Learner, views: Callable[[], Iterator[Views]], device: torch.device) -> None:
    """Let the objective learn from the train part, on every rank from the same records.

    Args:
        learner: with its first weights, not yet wrapped for its strategy.
        views: makes the views of the records that it is shown, batch by batch.
        device: where it learns.
    """
    objective = learner.objective
    on_rank_zero(log.info, "%s learns from up to %s records", type(objective).__name__, f"{objective.fits:,}")
    learner.to(device).fit(views())
    found = on_rank_zero(lambda: {name: buffer.cpu() for name, buffer in objective.named_buffers()})
    for name, buffer in objective.named_buffers():
        buffer.copy_(found[name])


def _callbacks(
    plan: Plan, run: Run, fabric: Fabric, learner: Learner, optimizer: Any, sizes: tuple[int, int]
) -> Callbacks:
    """Make the callbacks, and what they see of a training of so many steps, and steps per epoch."""
    seen = contracts.Training(learner, optimizer.optimizer, *sizes, folder=run.folder, recipe=plan.recipe.plain())
    seen.device, seen.rank, seen.world_size = fabric.device, fabric.global_rank, fabric.world_size
    return Callbacks(seen, {name: make() for name, make in plan.callbacks.items()})


def restore_modalities(
    plan: Plan, run: Run, raws_of: Callable[[str], Iterator[Any]], start: WarmStart | None = None
) -> None:
    """Fit modalities to the train part on rank 0, once in a run, and broadcast their states.

    With a warm start, a modality takes over its state from the other run, else one that must learn takes it from the
    run of its teacher. One that several towers share learns from the values of all.
    """

    def learned(name: str, modality: Modality) -> dict[str, Any]:
        state = run.kept_state(name)
        if state is None:
            state = start.learned(name) if start is not None else None
            if state is None and name in plan.teacher_runs:
                state = plan.teacher_runs[name].state_for(modality)
            if state is None:
                if not modality.is_fitted:
                    shared = [other for other, its in plan.modalities.items() if its is modality]
                    modality.fit(chain.from_iterable(map(raws_of, shared)))
                state = modality.state()
            run.keep_state(name, state)
        return state

    for name, modality in plan.modalities.items():
        modality.load_state(on_rank_zero(learned, name, modality))


def _warn_of_frozen_random_weights(plan: Plan) -> None:
    """Warn of encoders whose weights were neither loaded nor handed in, and are not trained."""
    for name, tower in plan.recipe.modalities.items():
        key = "lora" if tower.lora is not None else "frozen"
        is_frozen = tower.lora is not None or tower.frozen is not False
        if is_frozen and name not in plan.started_from and tower.encoder.handed_in is None:
            log.warning(
                "modalities.%s.%s keeps weights of the encoder as they are, and they are random: name those that it "
                "starts from by modalities.%s.weights.",
                *(name, key, name),
            )


def _on_device(fabric: Fabric, learner: Learner, plan: Plan) -> tuple[Any, Any, WeightAverage | None]:
    """Move the learner to its device, wrapped for its strategy, and make optimizer and averaged weights."""
    on_cuda, recipe = fabric.device.type == "cuda", plan.recipe
    if recipe.train.strategy != "fsdp":  # which shards contiguous weights alone
        for module in (learner, *learner.teachers.values()):
            use_channels_last(module, on_cuda)
    learner.teachers.to(fabric.device)  # of a learner that is sharded, only shards are moved
    average = None
    if recipe.train.ema is not None:
        if recipe.train.strategy == "fsdp":
            raise RecipeError(
                "train.ema keeps a whole copy of the weights, which strategy fsdp shards: use ddp, or no ema."
            )
        average = WeightAverage(learner, recipe.train.ema, fabric.device)
    if recipe.train.sync_batch_norm and fabric.world_size > 1:
        batch_norm.synchronize(learner)
    if recipe.train.gradient_checkpointing:
        checkpoint_blocks(dict(learner.encoders.items()))
    compiled: Any = torch.compile(learner) if recipe.train.compile else learner
    module = fabric.setup_module(compiled)
    fused = on_cuda and recipe.train.precision != "16-mixed"  # Fabric clips no gradients that a fused step unscales
    optimizer = fabric.setup_optimizers(plan.optimization.optimizer(learner, fused, plan.rate_factors(learner)))
    return module, optimizer, average


def _alarm(plan: Plan, learner: Learner, started: Collection[str]) -> CollapseAlarm:
    """Return the collapse alarm of a training, some of whose encoders start from weights."""
    options, objective = plan.recipe.monitor, learner.objective
    if not isinstance(objective, Sum):
        return CollapseAlarm(options, objective.remedy, {*started, "features"} if started else ())
    pretrained = {
        f"{term.name}/{what}"
        for term in plan.terms
        if (own := set(started) & set(term.towers))
        for what in {*own, "features"}
    }
    remedies = {
        term.name: remedy and remedy.replace("objective.", f"{term.key}.")
        for term, remedy in zip(plan.terms, objective.remedies.values(), strict=True)
    }
    return CollapseAlarm(options, pretrained=pretrained, terms=remedies)


def use_channels_last(module: nn.Module, on_cuda: bool) -> None:
    """Lay the 2-D convolutions of encoders, teachers included, out with channels last where they are faster so."""
    for encoder in module.modules():
        if isinstance(encoder, Encoder) and (on_cuda or encoder.channels_last):
            for weight in encoder.parameters():
                if weight.ndim == 4:
                    weight.data = weight.data.contiguous(memory_format=torch.channels_last)


def _draw_first_batch(training: TrainingState) -> None:
    recipe = training.recipe
    first = next(iter(training.loader.batches(0, 1)))[0]
    rng = generator(recipe.seed, "views", 0, 0, 0, device=training.device)
    gallery = draw_gallery(first, training.plan.modalities, training.plan.generators, rng, recipe.log.gallery)
    gallery.save(training.run.gallery_file)
