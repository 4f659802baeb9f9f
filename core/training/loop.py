"""The training loop, on one page. What it drives is made by `sensorium.training.setup`."""

from __future__ import annotations

import logging
import math
import signal
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial

import torch
from torch import Tensor

from sensorium.devices import to_device
from sensorium.errors import Interrupted
from sensorium.interruption import Stopped, handled_by, name_of
from sensorium.parallel import collectives, watch
from sensorium.seeding import seed_globals
from sensorium.training.gradient_cache import GradientCache
from sensorium.training.progress import FirstSteps
from sensorium.training.state import TrainingState
from sensorium.types import Outcome, RecordBatch

log = logging.getLogger("sensorium")


def train(t: TrainingState) -> None:
    """Train to the end, or until a callback finishes the training.

    Raises:
        Interrupted: after SIGTERM, SIGUSR1, SIGHUP or Ctrl-C, when the checkpoint is written.
        KeyboardInterrupt: after a second Ctrl-C, at once.
        TrainingError: when features collapsed and the run is to stop, or too many steps were undone.
        PluginError: when a callback failed.
    """
    every, callbacks = t.intervals(), t.callbacks
    begin_step, end_step = callbacks.begin_step, callbacks.end_step
    outcome: Outcome | None = None
    t.loader.prepare()
    stop, first_steps = StopRequest(), FirstSteps(t.steps, t.step)
    callbacks.call("before_training")
    steps_left = t.steps if callbacks.finish is None else t.step
    with handled_by(stop.receive):
        for step, parts in enumerate(t.meter.waiting(t.loader.batches(t.step, steps_left)), t.step):
            watch.begin_step(step + 1)
            if begin_step is not None:
                begin_step()
            taken = take_step(t, step, parts)
            t.step = callbacks.training.step = step + 1
            if t.line is not None:
                first_steps.after(t.step)
            if taken is not None:
                outcome, loss = taken
                t.losses.append(loss)
                if t.step == 1:
                    t.alarm.note_start(outcome)
                if every.look(t.step):
                    t.alarm.check(t.step, outcome)
            if end_step is not None:
                end_step(taken)
            if every.log(t.step):
                record(t, outcome)
            if every.evaluate(t.step):
                t.evaluate_on_val()
            asked = [stop.signal is not None, callbacks.finish is not None, t.checkpoints.is_writing]
            stopping, finishing, writing = collectives.any_ranks(asked)
            if not writing:
                t.finish_checkpoint()
            if finishing:
                finish(t, outcome)
            if every.checkpoint(t.step) or stopping or finishing or t.best is not None:
                t.save()
            if stopping:
                t.finish_checkpoint(last=True)
                raise Interrupted(
                    f"The training stopped with a checkpoint at step {t.step} of {t.steps}: "
                    f"continue with `sensorium train --resume {t.run.folder}`.",
                    stop.signal or signal.SIGTERM,
                )
            if finishing:
                break
    t.finish_checkpoint(last=True)
    callbacks.call("after_training")
    if callbacks.training.logged:
        t.report({})
    if t.line is not None:
        t.line.close()


def finish(t: TrainingState, outcome: Outcome | None) -> None:
    """Do what is due after the last step, but for the checkpoint, when a callback makes this step the last."""
    every, reason = t.intervals(), t.callbacks.agree_to_finish()
    if t.fabric.is_global_zero:
        log.info("finished at step %d of %d: %s", t.step, t.steps, reason)
    if not every.log(t.step):
        record(t, outcome)
    if t.evaluates and not every.evaluate(t.step):
        t.evaluate_on_val()


def take_step(t: TrainingState, step: int, parts: list[RecordBatch]) -> tuple[Outcome, Tensor] | None:
    """Take optimizer step `step` on the parts of one batch.

    Returns:
        The last part's outcome and this rank's mean loss; None when the step was undone, its loss or gradient not
        being finite on some rank.
    """
    seed, rank, recipe = t.recipe.seed, t.fabric.global_rank, t.recipe.train
    t.lr.set(step)
    t.guard.save_buffers()
    t.learner.freeze_statistics(t.plan.unfreezing, step / t.steps)
    losses, single = [], parts
    if recipe.gradient_cache:
        outcome, single = backward_joined(t, step, parts), []
        losses.append(outcome.loss.detach())
    for i, (records, cut) in enumerate(zip(single, t.cuts(single), strict=True)):
        seed_globals(seed, "step", step, rank, i)
        views = t.views(step, records, cut)
        with _no_sync(t, until_last=i < len(single) - 1):
            outcome = t.module(views)
            t.fabric.backward(outcome.loss / len(single))
        losses.append(outcome.loss.detach())
    t.learner.drop_frozen_gradients(t.plan.unfreezing, step / t.steps)
    loss, clip = torch.stack(losses).mean(), recipe.grad_clip or math.inf
    norm = t.fabric.clip_gradients(t.module, t.optimizer, max_norm=clip, error_if_nonfinite=False)
    if not t.guard.is_finite(loss, norm):
        t.guard.skip(step, loss, norm, [id for records in parts for id in records.ids])
        return None
    t.optimizer.step()
    t.optimizer.zero_grad(set_to_none=True)
    t.learner.objective.after_step((step + 1) / t.steps)
    if t.average is not None:
        t.average.update()
    return outcome, loss


def backward_joined(t: TrainingState, step: int, parts: list[RecordBatch]) -> Outcome:
    """Compute the gradient of one loss over all parts at the memory of one (gradient caching); returns its outcome."""
    names = t.recipe.seed, "step", step, t.fabric.global_rank
    views = [t.views(step, records, cut) for records, cut in zip(parts, t.cuts(parts), strict=True)]
    cache = GradientCache(views, t.learner, *names)
    return cache.backward(t.module, t.fabric.backward, partial(_no_sync, t, until_last=True))


def _no_sync(t: TrainingState, until_last: bool) -> AbstractContextManager[None]:
    """Leave gradients to this rank until the last part, under DDP; FSDP adds up its shards of each part's gradient.

    Of FSDP, Fabric's context is not entered at all: one that is not enabled turns the sum over ranks off as it ends.
    """
    if t.recipe.train.strategy == "fsdp":
        return nullcontext()
    return t.fabric.no_backward_sync(t.module, enabled=until_last)


def record(t: TrainingState, outcome: Outcome | None) -> None:
    """Write the metrics since the last record, means over steps and ranks, and clear the losses."""
    t.loader.bad.share()
    if outcome is None or not t.losses:  # every step was undone
        return
    names = sorted(outcome.logs)
    on_host = [n for n in names if outcome.logs[n].device.type == "cpu"]
    logs = outcome.logs | dict(zip(on_host, to_device([outcome.logs[n] for n in on_host], t.device), strict=True))
    values = torch.stack([torch.stack(t.losses).mean(), *(logs[n].float() for n in names)])
    loss, *means = collectives.all_reduce_mean(values).tolist()
    metrics = {
        "loss": loss,
        **dict(zip(names, means, strict=True)),
        "lr": t.lr.at(t.step - 1),
        "epoch": t.step / t.loader.steps_per_epoch,
        "skipped": len(t.guard.noted),
        **t.alarm.read(),
        **t.meter.read(),
    }
    t.report(metrics)
    t.losses.clear()


class StopRequest:
    """What a signal asks of a training: to finish its step, write a checkpoint and leave.

    A second Ctrl-C does not wait for that: it raises KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def receive(self, number: int, frame: object) -> None:
        """Note a signal; this is its handler."""
        if self.signal is not None and number == signal.SIGINT:
            raise Stopped(number)
        self.signal = number
        if collectives.rank() == 0:
            with suppress(RuntimeError, OSError):  # in the middle of another line of the log, or its terminal is gone
                again = " Again: it stops at once." if number == signal.SIGINT else ""
                log.warning("%s: the training stops after this step, with a checkpoint.%s", name_of(number), again)
