"""What an objective is tried on: toy encoders and records for its needs, or real ones where it needs a target."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any
from unittest import SkipTest

import numpy as np
import torch
from torch import Tensor, nn

from sensorium import seeding
from sensorium.contracts import Encoder, Objective, TokenEncoder, ViewGenerator
from sensorium.errors import PluginError, SensoriumError
from sensorium.models.learner import Learner
from sensorium.record_keys import changed
from sensorium.testing.checked_part import CheckedPart, Failure, expect, rng
from sensorium.testing.synthetic import (
    CHANNELS,
    ToyBatch,
    ToyEncoder,
    ToyGridEncoder,
    ToyViews,
    ToyWordEncoder,
    toy_records,
)
from sensorium.types import Outcome, Record, RecordBatch, View, record_keys

Views = dict[str, list[View]]
ROWS = 8
STEPS = 30
"""Optimizer steps of a training that a check looks at, each of `4 * ROWS` records."""
TOYS = (
    (ToyEncoder, 8),
    (ToyWordEncoder, 8),
    (ToyGridEncoder, 16),
    (partial(ToyEncoder, dim=64), 32),
    (partial(ToyWordEncoder, dim=64), 32),
)
"""Encoders that an objective may accept, in the order in which they are tried, and the tokens of their records."""
TAUGHT = 24
"""Width of the features of frozen teachers, another than that of the encoders."""
MODALITIES = ("first", "second", "third", "fourth", "fifth")


@dataclass
class LearnerParts:
    """What a learner is built from, the same in every process: its weights are functions of a seed.

    Args:
        objective: makes the objective.
        encoders: modality name -> encoder, with its first weights.
        classes: number of classes of the views' target, if they have one.
        views: number of views of each record.
        descriptors: modality name -> number of descriptors of each record.
        shown: the views of the records that the objective learns from before the first step.
        teachers: modality name -> its frozen teacher, if it needs some.
    """

    objective: Callable[[], Objective]
    encoders: dict[str, Encoder]
    classes: int | None = None
    views: int = 1
    descriptors: Mapping[str, int] = field(default_factory=dict)
    shown: Sequence[Views] = ()
    teachers: Mapping[str, Encoder] = field(default_factory=dict)

    def learner(self) -> Learner:
        """Return a new learner with its first weights, in training mode."""
        seeding.seed_globals("conformance")
        learner = Learner(
            copy.deepcopy(self.encoders),
            self.objective(),
            self.classes,
            self.views,
            descriptors=self.descriptors,
            teachers=copy.deepcopy(self.teachers),
        )
        if learner.objective.fits:
            learner.fit(self.shown)
        return learner.train()


@dataclass
class Trained:
    """A learner before and after a short training.

    Args:
        first: with its first weights.
        learner: with those after the training.
    """

    first: Learner
    learner: Learner


@dataclass
class ObjectiveCase:
    """The test case of an objective: encoders that it accepts, and views of records as it needs them."""

    checked: CheckedPart
    tokens: int = field(init=False, default=8)

    @cached_property
    def needs(self) -> Any:
        """What the objective asks of a recipe."""
        return self.checked.spec.load().variant(self.checked.options_of(self.checked.spec)).needs

    @property
    def has_real_target(self) -> bool:
        """Whether it needs a target that toys do not have, so that it is tried on samples."""
        return self.needs.target not in (None, "class")

    @property
    def _short(self) -> int:
        return 2 * self.needs.multicrop

    @cached_property
    def parts(self) -> LearnerParts:
        """What its learners are built from."""
        options = self.checked.options_of(self.checked.spec)
        objective = partial(self.checked.spec.load().variant(options), **options)
        if self.has_real_target:
            generator = self.target.generator
            name = self.target.modality_name
            shown = [{name: [replace(v, modality=name) for v in self.target.views(0, self.target.batch)]}]
            return LearnerParts(objective, {name: self._encoder()}, generator.classes, generator.views, shown=shown)
        refusals: list[str] = []
        for names in self._towers():
            for toy, self.tokens in TOYS:
                seeding.seed_globals("conformance")
                parts = LearnerParts(
                    objective,
                    {name: toy() for name in names},
                    CHANNELS if self.needs.target else None,
                    self.needs.views + self._short,
                    dict.fromkeys(names, 2 * CHANNELS) if self.needs.descriptors else {},
                    [self._toy_views(names, 4 * ROWS, seed) for seed in range(4)],
                    {name: toy(dim=TAUGHT) for name in names} if self.needs.teacher else {},
                )
                try:
                    run(parts.learner(), self._toy_views(names, ROWS, 0))
                except SensoriumError as refused:
                    refusals.append(str(refused))
                else:
                    return parts
        raise Failure(f"it refuses the toy encoders: {' '.join(dict.fromkeys(refusals))}")

    def _towers(self) -> list[Sequence[str]]:
        """Return the names of the modalities that it may take together."""
        if not self.needs.is_crossmodal:
            return [("toy",)]
        if self.needs.modalities == "any":
            return [MODALITIES[:2], MODALITIES[:1]]
        if self.needs.modalities != "many":
            return [tuple(f"modality{number}" for number in range(self.needs.modalities))]
        return [MODALITIES[:2], MODALITIES[:3]]

    @cached_property
    def _first(self) -> Learner:
        return self.parts.learner()

    def learner(self) -> Learner:
        """Return a learner of encoders that the objective accepts, with the same weights every time."""
        return copy.deepcopy(self._first)

    def views(self, rows: int = ROWS, seed: int = 0, masked: bool = False, equal: bool = False) -> Views:
        """Return views of records, as the objective needs them.

        Args:
            rows: number of records.
            seed: of the records and their views.
            masked: give the views a mask of tokens where the objective uses one, so that it draws none.
            equal: let all records have the same values.
        """
        if self.has_real_target:
            index = torch.full((rows,), self._longest) if equal else torch.arange(rows) % len(self.target.batch)
            index[::4] = self._longest  # so that the rows of any rank are padded to the same length
            name = self.target.modality_name
            keys = {"record": torch.arange(rows), "group": torch.arange(rows)}
            made = self.target.views(seed, self.target.batch.select(index))
            return {name: [replace(view, modality=name, keys=keys) for view in made]}
        return self._toy_views(tuple(self.parts.encoders), rows, seed, masked, equal)

    def _toy_views(
        self, names: Sequence[str], rows: int, seed: int, masked: bool = False, equal: bool = False
    ) -> Views:
        generator = rng("views", seed)
        x_BTC = toy_records(rows, generator, self.tokens)
        made = {name: ToyViews(name, self.needs.views, self._short, self.needs.target == "class") for name in names}
        views = {name: views_of(ToyBatch(x_BTC), generator) for name, views_of in made.items()}
        if equal:
            views = {name: [_all_like_the_first(view) for view in of_one] for name, of_one in views.items()}
        if self.needs.descriptors:
            described = {"descriptors": _descriptors(x_BTC)}
            views = {
                name: [replace(view, info={**view.info, **described}) for view in of_one]
                for name, of_one in views.items()
            }
        if masked and self.needs.info == "masked":
            for view in (view for of_modality in views.values() for view in of_modality):
                assert isinstance(view.batch, ToyBatch)
                order_BT = torch.rand(view.batch.x.shape[:2], generator=generator).argsort(1)
                view.info["masked"] = order_BT < order_BT.shape[1] // 2
        return views

    def generators(self) -> dict[str, ViewGenerator]:
        """Return what makes the views of `views`, by modality."""
        if self.has_real_target:
            return {self.target.modality_name: self.target.generator}
        return {
            name: ToyViews(name, self.needs.views, self._short, self.needs.target == "class")
            for name in self.parts.encoders
        }

    def records(self) -> RecordBatch:
        """Return the records of which `views` are views."""
        named, descriptors = [Record(str(number), {}) for number in range(ROWS)], {}
        if self.has_real_target:
            batches: dict[str, Any] = {
                self.target.modality_name: self.target.batch.select(torch.arange(ROWS) % len(self.target.batch))
            }
        else:
            encoders = self.parts.encoders
            x_BTC = toy_records(ROWS, rng("records"), self.tokens)
            batches = {name: ToyBatch(x_BTC) for name in encoders}
            if self.needs.descriptors:
                descriptors = dict.fromkeys(encoders, _descriptors(x_BTC))
        return RecordBatch(
            [r.id for r in named], batches, dict.fromkeys(batches), record_keys(named), descriptors=descriptors
        )

    @cached_property
    def trained(self) -> Trained:
        """A learner before and after `STEPS` steps; who trains it further copies it."""
        learner = self.learner()
        rows = ROWS if self.has_real_target else 4 * ROWS  # real encoders are slower than toys
        train(learner, STEPS, lambda step: self.views(rows, step))
        return Trained(self._first, learner)

    @cached_property
    def target(self) -> CheckedPart:
        """The case of a view generator with the target that the objective needs."""
        for spec in self.checked.registry.specs("views"):
            found = replace(self.checked, spec=spec)
            try:
                found.has_samples_and_options()
            except (Failure, PluginError):
                continue
            if found.generator.target == self.needs.target:
                return found
        raise SkipTest(f"no view generator with samples has the target '{self.needs.target}'")

    @cached_property
    def _longest(self) -> int:
        """Which of the samples is largest."""
        batch = self.target.batch
        sizes = [sum(t.numel() for t in batch.select(torch.tensor([i])).tensors().values()) for i in range(len(batch))]
        return sizes.index(max(sizes))

    def _encoder(self) -> Encoder:
        """Return the first encoder of the modality for the samples, one of tokens where the target is of tokens."""
        target = self.target
        for spec in target.registry.specs("encoders"):
            if spec.modality in (None, target.modality_name):
                found = replace(target, spec=spec, samples={target.modality_name: target.raws})
                try:
                    found.has_samples_and_options()
                    encoder = found.new_encoder()
                    encoder(found.batch)
                    if target.generator.per_token and not isinstance(encoder, TokenEncoder):
                        continue
                except (Failure, SensoriumError):
                    continue
                return encoder
        raise SkipTest(f"no encoder of modality '{target.modality_name}' can be built")


def _descriptors(x_BTC: Tensor) -> Tensor:
    """Return descriptors of toy records, float32 (B, 2 C): means and deviations; the last of some is undefined."""
    rows_BP = torch.cat([x_BTC.mean(1), x_BTC.std(1)], dim=1)
    rows_BP[rows_BP[:, 0] > 0, -1] = torch.nan
    return rows_BP


def _all_like_the_first(view: View) -> View:
    return replace(rows_of(view, torch.zeros(len(view), dtype=torch.int64)), keys=view.keys)


def case_of(checked: CheckedPart) -> ObjectiveCase:
    """Return the case of an objective under test, the same for all of its checks."""
    return checked.kept.setdefault("objective", ObjectiveCase(checked))


def run(learner: Learner, views: Views, seed: int = 0) -> Outcome:
    """Return the outcome of one forward pass, with a finite scalar loss."""
    seeding.seed_globals("objective", seed)
    outcome = learner(views)
    expect(isinstance(outcome, Outcome), f"forward returns a {type(outcome).__name__}, not an Outcome")
    expect(outcome.loss.ndim == 0, f"the loss has shape {tuple(outcome.loss.shape)}, it must be a scalar")
    expect(bool(outcome.loss.isfinite()), f"the loss is {outcome.loss.item()}")
    return outcome


def loss_of(learner: Learner, views: Views, seed: int = 0) -> float:
    """Return the loss of a copy of a learner, which stays as it is."""
    return float(run(copy.deepcopy(learner), views, seed).loss.detach())


def train(learner: Learner, steps: int, views: Callable[[int], Views], lr: float = 3e-3) -> None:
    """Train a learner as the training loop does, on `views(step)`; `after_step` sees the first half of a training."""
    optimizer = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], lr=lr, fused=True)
    for step in range(steps):
        optimizer.zero_grad()
        run(learner, views(step), step).loss.backward()
        optimizer.step()
        learner.objective.after_step((step + 1) / (2 * steps))


def without_dropout(learner: Learner) -> Learner:
    """Return the same learner with the probability of every dropout 0."""
    for module in learner.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return learner


def rows_of(view: View, index: Tensor) -> View:
    """Return the rows of a view at `index`, with their targets, info and keys."""
    return replace(
        view,
        batch=view.batch.select(index),
        target=None if view.target is None else view.target[index],
        info={name: value[index] for name, value in view.info.items()},
        keys=changed(view.keys, lambda rows: rows[index]),
    )


def lacking(view: View, present: np.ndarray) -> View:
    """Return a view of the records that have its modality alone.

    Args:
        view: of all records of a batch.
        present: bool (B,): which have it.
    """
    return replace(rows_of(view, torch.from_numpy(np.flatnonzero(present))), present=present)


def records_between(view: View, start: int, stop: int) -> View:
    """Return the rows of a view that stand for the records `start` to `stop` of its batch, as a rank has them."""
    if view.present is None:
        return rows_of(view, torch.arange(start, stop))
    first, count = int(view.present[:start].sum()), int(view.present[start:stop].sum())
    return replace(rows_of(view, torch.arange(first, first + count)), present=view.present[start:stop])
