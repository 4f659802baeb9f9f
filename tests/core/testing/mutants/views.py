"""Mutants of view generators."""

from dataclasses import replace

import numpy as np
import torch

from sensorium import View, ViewGenerator
from tests.core.testing.mutants import _sequences, caught_by

MODALITY, SAMPLES = _sequences.Sequences, _sequences.SAMPLES


class Replaces(ViewGenerator):
    """Two views with some of the ids replaced."""

    views = 2

    def __init__(self, modality):
        self.modality = modality

    def __call__(self, batch, rng):
        return [View(self.replaced(batch, rng)) for _ in range(2)]

    def replaced(self, batch, rng):
        drawn = self.drawn(batch.ids.shape, rng, batch.device)
        ids = torch.where(drawn < 0.4, (drawn * 100).long() % self.modality.size, batch.ids)
        return replace(batch, ids=torch.where(batch.mask, ids, 0))

    def drawn(self, shape, rng, device):
        return torch.rand(shape, generator=rng, device=device)


class Adds(ViewGenerator):
    """Adds a number to all ids, which is the target."""

    target, classes, info = "added", 4, ("first",)

    def __init__(self, modality):
        self.modality = modality

    def __call__(self, batch, rng):
        added = torch.randint(4, (len(batch),), generator=rng, device=batch.device)
        ids = (batch.ids + added[:, None]) % self.modality.size
        view = replace(batch, ids=torch.where(batch.mask, ids, 0))
        return [View(view, self.target_of(added, batch), {"first": self.first_of(batch)})]

    def target_of(self, added, batch):
        return added

    def first_of(self, batch):
        return batch.ids[:, 0]


@caught_by("draws for each record")
class OneDrawForABatch(Replaces):
    def drawn(self, shape, rng, device):
        return super().drawn((1, shape[1]), rng, device).expand(shape)


@caught_by("draws for each record")
class OneDrawForTheSecondView(Replaces):
    def __call__(self, batch, rng):
        views = super().__call__(batch, rng)
        added = torch.randint(self.modality.size, (), generator=rng, device=batch.device)
        return [views[0], View(replace(batch, ids=(batch.ids + added) % self.modality.size))]


@caught_by("draws anew in every step")
class TheSameDrawInEveryStep(Replaces):
    def drawn(self, shape, rng, device):
        return super().drawn(shape, torch.Generator(device).manual_seed(0), device)


@caught_by("draws anew in every step")
class TheSameDrawOfNumPy(Replaces):
    def drawn(self, shape, rng, device):
        return torch.from_numpy(np.random.default_rng(0).random(shape)).to(device)


@caught_by("draws anew in every step")
class TheSameStageInEveryEpoch(Replaces):
    def stage(self, example, rng):
        return example[: 1 + int(torch.randint(len(example), (), generator=torch.Generator().manual_seed(1)))]


@caught_by("keeps rows with their records")
class ReversesRecords(Replaces):
    def __call__(self, batch, rng):
        return [View(view.batch.select(torch.arange(len(view)).flip(0))) for view in super().__call__(batch, rng)]


@caught_by("keeps rows with their records")
class ShufflesRecords(Replaces):
    def __call__(self, batch, rng):
        order = torch.randperm(len(batch), generator=rng, device=batch.device)
        return super().__call__(batch.select(order), rng)


@caught_by("keeps rows with their records")
class PairsOtherRecords(Replaces):
    def __call__(self, batch, rng):
        one, other = super().__call__(batch, rng)
        return [one, View(other.batch.select(torch.arange(len(batch)).roll(1)))]


@caught_by("keeps targets with their rows")
class ShiftsDrawnTargets(Adds):
    def target_of(self, added, batch):
        return added.roll(1)


@caught_by("keeps targets with their rows")
class ShiftsTargetsOfRecords(Adds):
    def target_of(self, added, batch):
        return (batch.ids[:, 1] % 4).roll(1)


@caught_by("keeps targets with their rows")
class ShiftsInfo(Adds):
    def first_of(self, batch):
        return batch.ids[:, 0].roll(1)


@caught_by("has targets within its classes")
class CountsFromOne(Adds):
    def target_of(self, added, batch):
        return added + 1


@caught_by("has targets within its classes")
class TargetsAsFloats(Adds):
    def target_of(self, added, batch):
        return added.float()


@caught_by("can be made before its modality is fitted")
class CountsIdsTooEarly(Replaces):
    def __init__(self, modality):
        super().__init__(modality)
        self.last = modality.size - 1


@caught_by("can be made before its modality is fitted")
class RemembersTooEarly(Replaces):
    def __init__(self, modality):
        super().__init__(modality)
        self.added = modality.size or 0

    def replaced(self, batch, rng):
        made = super().replaced(batch, rng)
        return replace(made, ids=torch.where(made.mask, (made.ids + self.added // 2) % self.modality.size, 0))


@caught_by("leaves earlier views as they are")
class ReusesItsViews(Replaces):
    def __call__(self, batch, rng):
        made = super().__call__(batch, rng)
        kept = getattr(self, "kept", None)
        if kept is None or kept[0].batch.ids.shape != batch.ids.shape:
            self.kept = made
        for one, other in zip(self.kept, made, strict=True):
            one.batch.ids.copy_(other.batch.ids)
        return list(self.kept)
