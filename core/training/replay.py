"""Replay of the last step with a non-finite loss or gradient, to find where it first occurs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.contracts import Source
from sensorium.data.unreadable import UnreadableRecords
from sensorium.errors import RunError
from sensorium.models.learner import Learner, make_views
from sensorium.models.model import Model
from sensorium.models.plan import Plan
from sensorium.runs.checkpoint import Checkpoints
from sensorium.runs.run import Run
from sensorium.seeding import generator, seed_globals
from sensorium.training.fabric import build_fabric, launch
from sensorium.training.feed import absent_views, cutter, feed
from sensorium.training.finite_guard import read_notes
from sensorium.types import Features, Outcome, RecordBatch, View


@dataclass(frozen=True)
class Replayed:
    """The result of replaying one part of a step.

    Args:
        step: the step, from 0.
        rank: the rank of this part, which is replayed alone, without the rows of other ranks.
        loss: its loss.
        ids: its records.
        suspects: those of them with a non-finite value in a view.
        module: name, in the learner, of the first module with a non-finite output.
        weights: names of the weights with a non-finite gradient.
    """

    step: int
    rank: int
    loss: float
    ids: list[str]
    suspects: list[str]
    module: str | None
    weights: list[str]

    def public(self) -> dict[str, Any]:
        """Return what listings show."""
        return asdict(self) | {"loss": self.loss if math.isfinite(self.loss) else str(self.loss)}

    @property
    def sentence(self) -> str:
        """Where the first non-finite value occurs."""
        where = f"step {self.step}, rank {self.rank}, {len(self.ids)} records: the loss is {self.loss:g}"
        if self.suspects:
            return f"{where}; the views of these records are non-finite: {', '.join(self.suspects)}."
        if self.module is not None:
            return f"{where}; the first non-finite output is that of {self.module or 'the learner'}."
        if self.weights:
            return f"{where}; outputs are finite, but the gradient is non-finite for {', '.join(self.weights)}."
        return f"{where}, and all gradients are finite: they are non-finite only with other ranks or on another device."


def replay_step(plan: Plan, source: Source, positions: np.ndarray, run: Run) -> list[Replayed]:
    """Replay the last skipped step of a run, from the weights before it, in one process.

    Args:
        plan: the parts of the run's recipe.
        source: where its records come from.
        positions: which of its records are the train part.
        run: the run.

    Returns:
        The result of each part of each rank.

    Raises:
        RunError: when the run skipped no step, or the checkpoint before it cannot be read.
    """
    notes = read_notes(run.nonfinite / "steps.jsonl")
    if not notes:
        raise RunError(f"There is nothing to replay: every step of {run.folder} had a finite loss and gradient.")
    step, ranks = notes[-1]["step"], len(notes[-1]["ids"])
    weights = Checkpoints(run.nonfinite, keep=1).read(str(step)).learner()
    fabric = build_fabric(plan.recipe.train.model_copy(update={"devices": 1, "nodes": 1, "strategy": "auto"}))
    launch(fabric)
    learner = Model.untrained(plan, run.kept_state, adapted=True).load_weights(weights, f"step {step}").learner
    module = fabric.setup_module(learner)
    learner.train()
    found = []
    place = {"bad": UnreadableRecords(len(source), 1.0), "workers": 0, "device": fabric.device, "world": ranks}
    loaders = [feed(plan, source, positions, rank=rank, **place) for rank in range(ranks)]
    absent, cutting = absent_views(plan, loaders[0], fabric.device), cutter(plan, loaders[0], ranks)
    parts = [next(loader.batches(step, step + 1)) for loader in loaders]
    sizes = [cutting.sizes(of_rank) for of_rank in parts] if cutting else []
    for rank, of_rank in enumerate(parts):
        before = [buffer.clone() for buffer in learner.buffers()]
        cuts = cutting.cuts_of(sizes, rank, len(of_rank)) if cutting else [None]
        for i, (records, cut) in enumerate(zip(of_rank, cuts, strict=True)):
            seed_globals(plan.recipe.seed, "step", step, rank, i)
            rng = generator(plan.recipe.seed, "views", step, 0, 0, device=fabric.device)
            views = make_views(records, plan.generators, rng, absent, cut)
            learner.zero_grad(set_to_none=True)
            with _first_to_fail(learner) as failed:
                outcome: Outcome = module(views)
            fabric.backward(outcome.loss)
            found.append(
                Replayed(
                    step,
                    rank,
                    float(outcome.loss.detach()),
                    records.ids,
                    _suspects(records, views),
                    failed[0] if failed else None,
                    [n for n, p in learner.named_parameters() if p.grad is not None and not p.grad.isfinite().all()],
                )
            )
        for buffer, kept in zip(learner.buffers(), before, strict=True):
            buffer.data.copy_(kept)
    return found


@contextmanager
def _first_to_fail(learner: Learner) -> Iterator[list[str]]:
    """Collect the names of modules with a non-finite output, in order of execution."""
    failed: list[str] = []

    def watching(name: str) -> Any:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if not all(bool(t.isfinite().all()) for t in _floats(output)):
                failed.append(name)

        return look

    handles = [module.register_forward_hook(watching(name)) for name, module in learner.named_modules()]
    try:
        yield failed
    finally:
        for handle in handles:
            handle.remove()


def _floats(output: Any) -> Iterator[Tensor]:
    """Iterate over the floating-point tensors of a module's output."""
    if isinstance(output, Features):
        output = (output.pooled, output.tokens)
    if isinstance(output, Outcome):
        output = output.loss
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, tuple | list):
        for part in output:
            yield from _floats(part)


def _suspects(records: RecordBatch, views: dict[str, list[View]]) -> list[str]:
    """Return the ids of records that have a view with a non-finite value."""
    suspect_B = torch.zeros(len(records), dtype=torch.bool)
    for made in views.values():
        for view in made:
            rows = (
                torch.arange(len(records)) if view.present is None else torch.from_numpy(np.flatnonzero(view.present))
            )
            for tensor in view.batch.tensors().values():
                if tensor.is_floating_point() and len(tensor) == len(rows):
                    suspect_B[rows[~tensor.flatten(1).isfinite().all(1).cpu()]] = True
    return [id for id, suspect in zip(records.ids, suspect_B.tolist(), strict=True) if suspect]
