"""Objectives with one fault each."""

from __future__ import annotations

import copy
from itertools import combinations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from sensorium import Needs, Objective, Outcome, SensoriumError, Teacher, collectives, heads, losses, to_device
from sensorium.presence import present_in_all, rows_among
from tests.core.testing.mutants import caught_by


class Contrast(Objective):
    """NT-Xent between two views."""

    needs = Needs(views=2)

    def build(self, encoders):
        self.project = nn.Linear(encoders.single.dim, 8)

    def embeddings(self, views, encode):
        return [F.normalize(self.project(features.pooled), dim=1) for features in encode(views)]

    def forward(self, views, encode):
        x, y = self.embeddings(views, encode)
        return Outcome(losses.nt_xent(x, y, 0.2))


@caught_by("is exact on two ranks")
class ContrastsItsOwnRank(Contrast):
    """Takes the records of its rank alone as negatives."""

    def forward(self, views, encode):
        x, y = self.embeddings(views, encode)
        return Outcome(F.cross_entropy(x @ y.T / 0.2, torch.arange(len(x), device=x.device)))


@caught_by("is exact on two ranks")
class GathersWithoutGradient(Contrast):
    """Joins records with torch's own all_gather, which carries no gradient."""

    def forward(self, views, encode):
        x, y = self.embeddings(views, encode)
        sizes = collectives.rank_sizes(len(x))
        parts = [torch.zeros(max(sizes), y.shape[1], dtype=y.dtype) for _ in sizes]
        if len(sizes) > 1:
            dist.all_gather(parts, F.pad(y.detach(), (0, 0, 0, max(sizes) - len(y))).contiguous())
        rank = collectives.rank()
        parts[rank] = y
        joined = torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
        own = sum(sizes[:rank]) + torch.arange(len(x))
        loss = F.cross_entropy(x @ joined.T / 0.2, own, reduction="sum")
        return Outcome(collectives.share(loss, sum(sizes)))


@caught_by("is exact on two ranks")
class Sums(Contrast):
    """Sums over records, which the mean over ranks then halves."""

    def forward(self, views, encode):
        x, y = self.embeddings(views, encode)
        return Outcome((x - y).square().sum())


@caught_by("is exact on two ranks")
class MeansOfRanks(Contrast):
    """Takes the mean of a rank, so that a record of a smaller slice weighs more."""

    def forward(self, views, encode):
        x, y = self.embeddings(views, encode)
        return Outcome((x - y).square().mean())


@caught_by("is exact on two ranks")
class WaitsAlone(Contrast):
    """Calls a collective operation on one rank alone."""

    def forward(self, views, encode):
        x, y = self.embeddings(views, encode)
        if len(x) > 5 and collectives.world_size() > 1:
            raise RuntimeError("rank 0 is alone")
        collectives.all_gather(x)
        return Outcome(losses.nt_xent(x, y, 0.2))


@caught_by("is invariant to record order")
class PairsNeighbors(Contrast):
    """Pairs a record with the next one."""

    def forward(self, views, encode):
        x, y = self.embeddings(views, encode)
        return Outcome(losses.nt_xent(x, y.roll(1, 0), 0.2))


@caught_by("prefers positive pairs")
class DrivesApart(Contrast):
    """Has the wrong sign."""

    def forward(self, views, encode):
        x, y = self.embeddings(views, encode)
        return Outcome(-losses.nt_xent(x, y, 0.2))


@caught_by("propagates gradient to every encoder")
class Cuts(Contrast):
    """Detaches what it encodes."""

    def embeddings(self, views, encode):
        return [self.project(features.pooled.detach()) for features in encode(views)]


@caught_by("trains every parameter of its own")
class HasAnUnusedHead(Contrast):
    """Makes a head that its loss does not use."""

    def build(self, encoders):
        super().build(encoders)
        self.spare = nn.Linear(encoders.single.dim, 8)


@caught_by("does not modify its views")
class WritesToItsViews(Contrast):
    """Standardizes the records in place."""

    def forward(self, views, encode):
        for view in views:
            view.batch.x.sub_(view.batch.x.mean())
        return super().forward(views, encode)


@caught_by("does not modify its views")
class WritesToKeys(Contrast):
    """Renumbers the records in place."""

    def forward(self, views, encode):
        views[0].keys["group"].copy_(torch.arange(len(views[0])).flip(0))
        return super().forward(views, encode)


@caught_by("reads the keys that it declares")
class ReadsGroupsUnasked(Contrast):
    """Reads the group of records, and declares that it reads no key."""

    record_keys = ()

    def forward(self, views, encode):
        assert len(views[0].key("group")) == len(views[0])
        return super().forward(views, encode)


@caught_by("is a function of its views")
class CountsItsCalls(Contrast):
    """Anneals its temperature by the number of its forward passes."""

    calls = 0

    def forward(self, views, encode):
        self.calls += 1
        x, y = self.embeddings(views, encode)
        return Outcome(losses.nt_xent(x, y, 0.2 + 0.1 / self.calls))


@caught_by("is a function of its views")
class HasItsOwnGenerator(Contrast):
    """Draws noise from a generator that nobody seeds."""

    def build(self, encoders):
        super().build(encoders)
        self.rng = torch.Generator().manual_seed(1)

    def __deepcopy__(self, memo):
        rng, self.rng = self.rng, None
        made = copy.copy(self)
        made.__dict__ = copy.deepcopy(self.__dict__, memo)
        self.rng = made.rng = rng
        return made

    def embeddings(self, views, encode):
        x, y = super().embeddings(views, encode)
        return x + 0.1 * torch.randn(x.shape, generator=self.rng), y


@caught_by("leaves the seeds alone")
class DrawsTheSameEachStep(Contrast):
    """Seeds torch's generator, so that every step has the same noise."""

    def embeddings(self, views, encode):
        torch.manual_seed(0)
        x, y = super().embeddings(views, encode)
        return x + 0.1 * torch.randn_like(x), y


@caught_by("handles equal records")
class DividesByVariance(Contrast):
    """Standardizes over the batch without an epsilon."""

    def forward(self, views, encode):
        x, y = ((z - z.mean(0)) / z.std(0) for z in self.embeddings(views, encode))
        return Outcome((x - y).square().mean())


@caught_by("handles batches of one and two")
class NeedsThree(Contrast):
    """Takes the logarithm of the variance of all records but two."""

    def forward(self, views, encode):
        x, y = self.embeddings(views, encode)
        return Outcome((x - y).square().mean() - x[2:].var(0).log().mean())


@caught_by("is finite under bfloat16 autocast")
class LosesPrecision(Contrast):
    """Returns its loss in half precision."""

    def forward(self, views, encode):
        x, y = self.embeddings(views, encode)
        return Outcome((x @ y.T).diagonal().neg().mean().to(x.dtype if x.dtype == torch.float64 else torch.bfloat16))


@caught_by("takes a step on a gpu")
class ReadsAfterTheStep(Contrast):
    """Reads weights on the host in `after_step`."""

    def after_step(self, progress):
        self.size = [float(parameter.norm()) for parameter in self.parameters()] + [
            float(self.project.weight.detach().max()) for _ in range(3)
        ]


class Siamese(Objective):
    """SimSiam."""

    needs = Needs(views=2)

    def build(self, encoders):
        self.project = heads.projection_head(encoders.single.dim, 32, 32)
        self.predict = heads.prediction_head(32, 16, 32)

    def forward(self, views, encode):
        z1, z2 = (self.project(features.pooled) for features in encode(views))
        return Outcome(-(_cosine(self.predict(z1), z2.detach()) + _cosine(self.predict(z2), z1.detach())) / 2)


@caught_by("stops the gradient where collapse is easiest")
class StopsNoGradient(Siamese):
    """Trains its targets too."""

    def forward(self, views, encode):
        z1, z2 = (self.project(features.pooled) for features in encode(views))
        loss = _cosine(self.predict(z1), z2) + _cosine(self.predict(z2), z1)
        return Outcome(-loss / 2)


@caught_by("stops the gradient where collapse is easiest")
class OnlyAttracts(Siamese):
    """Has neither negatives, a predictor nor a stop-gradient."""

    def build(self, encoders):
        self.project = nn.Linear(encoders.single.dim, 32)

    def forward(self, views, encode):
        z1, z2 = (self.project(features.pooled) for features in encode(views))
        return Outcome(-_cosine(z1, z2))


@caught_by("stops the gradient where collapse is easiest")
class OnlyAttractsBehindNormalization(Siamese):
    """The same behind batch norms, which keep features apart, and outputs not."""

    def build(self, encoders):
        self.project = heads.projection_head(encoders.single.dim, 64, 32)
        self.predict = heads.prediction_head(32, 64, 32)

    def forward(self, views, encode):
        z1, z2 = (collectives.gather(self.predict(self.project(features.pooled)).float()) for features in encode(views))
        return Outcome((z1 - z2).square().mean())


class Distills(Objective):
    """BYOL."""

    needs = Needs(views=2)

    def build(self, encoders):
        self.project = nn.Linear(encoders.single.dim, 8)
        self.predict = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.teacher = Teacher(encoders, project=self.project)

    def targets(self, views, encode):
        with torch.no_grad():
            taught = encode.using(self.teacher.encoders)(views)
            return [self.teacher.heads["project"](features.pooled) for features in taught]

    def forward(self, views, encode):
        p1, p2 = (self.predict(self.project(features.pooled)) for features in encode(views))
        t1, t2 = self.targets(views, encode)
        return Outcome((losses.negative_cosine(p1, t2) + losses.negative_cosine(p2, t1)) / 2)

    def after_step(self, progress):
        self.teacher.update(0.9)


@caught_by("does not train its teachers")
class TrainsItsTeacher(Distills):
    """Lets gradients reach the teacher, which the optimizer then moves."""

    def build(self, encoders):
        super().build(encoders)
        self.teacher.requires_grad_(True)

    def targets(self, views, encode):
        taught = encode.using(self.teacher.encoders)(views)
        return [self.teacher.heads["project"](features.pooled) for features in taught]


@caught_by("does not train its teachers")
class TrainsItsCopy(Distills):
    """Keeps a copy of the encoder by hand, and forgets to freeze it."""

    def build(self, encoders):
        self.project = nn.Linear(encoders.single.dim, 8)
        self.predict = nn.Linear(8, 8)
        self.student = [encoders.single]
        self.copied = copy.deepcopy(encoders.single)

    def targets(self, views, encode):
        with torch.no_grad():
            return [self.project(self.copied(view.batch).pooled) for view in views]

    def after_step(self, progress):
        with torch.no_grad():
            for mine, theirs in zip(self.copied.parameters(), self.student[0].parameters(), strict=True):
                mine.lerp_(theirs, 0.1)


@caught_by("moves its teachers after a step")
class NeverMovesItsTeacher(Distills):
    """Does nothing after a step."""

    def after_step(self, progress):
        pass


@caught_by("moves its teachers after a step")
class MovesItsTeacherAway(Distills):
    """Subtracts what it should add."""

    def after_step(self, progress):
        self.teacher.update(1.1)


@caught_by("changes its state after a step alone")
class MovesItsTeacherInForward(Distills):
    """Updates the teacher in every forward pass."""

    def forward(self, views, encode):
        self.teacher.update(0.9)
        return super().forward(views, encode)

    def after_step(self, progress):
        pass


class Queues(Contrast):
    """MoCo's queue without its momentum encoder."""

    def build(self, encoders):
        super().build(encoders)
        self.register_buffer("queue", F.normalize(torch.randn(16, 8), dim=1))
        self.register_buffer("new", torch.empty(0, 8), persistent=False)

    def forward(self, views, encode):
        x, y = self.embeddings(views, encode)
        logits = torch.cat([(x * y.detach()).sum(1, keepdim=True), x @ self.queue.T.to(x.dtype)], 1) / 0.2
        self.new = collectives.all_gather(y.detach())[0]
        loss = F.cross_entropy(logits, torch.zeros(len(x), dtype=torch.int64, device=x.device), reduction="sum")
        return Outcome(collectives.share(loss, collectives.count_rows(x)))

    def after_step(self, progress):
        self.queue, self.new = torch.cat([self.new.to(self.queue.dtype), self.queue])[:16], self.new[:0]


@caught_by("resumes from its state dict")
class ForgetsItsQueue(Queues):
    """Keeps the queue as a plain attribute."""

    def build(self, encoders):
        Contrast.build(self, encoders)
        self.queue, self.new = F.normalize(torch.randn(16, 8), dim=1), torch.empty(0, 8)


@caught_by("resumes from its state dict")
class ForgetsItsCenter(Contrast):
    """Centers features by a running mean that a checkpoint does not hold."""

    def build(self, encoders):
        super().build(encoders)
        self.register_buffer("center", torch.zeros(8), persistent=False)

    def forward(self, views, encode):
        x, y = self.embeddings(views, encode)
        self.seen = x.detach().mean(0)
        return Outcome(losses.nt_xent(x - self.center, y - self.center, 0.2))

    def after_step(self, progress):
        self.center.lerp_(self.seen.to(self.center.dtype), 0.1)


@caught_by("changes its state after a step alone")
class PushesInForward(Queues):
    """Fills its queue in every forward pass."""

    def forward(self, views, encode):
        outcome = super().forward(views, encode)
        self.after_step(0.0)
        return outcome


@caught_by("is exact on two ranks")
class FillsItsQueueFromItsRank(Queues):
    """Pushes the records of its rank alone, so that queues differ."""

    def forward(self, views, encode):
        outcome = super().forward(views, encode)
        self.new = self.embeddings(views, encode)[1].detach()
        return outcome


class Reconstructs(Objective):
    """Predicts masked tokens from the others."""

    needs = Needs(tokens=True, info="masked")

    def build(self, encoders):
        encoder = encoders.single
        self.mask_token, self.head = nn.Parameter(torch.zeros(encoder.dim)), nn.Linear(encoder.dim, encoder.target_dim)

    def loss_of(self, predicted, targets, masked):
        errors = (predicted.float() - targets.float()).square().mean(-1) * masked
        return collectives.share(errors.sum(), collectives.all_reduce_sum(masked.sum()))

    def forward(self, views, encode):
        (view,) = views
        tokens = encode.tokenize(view)
        targets = encode.token_targets(view)
        if not targets.is_floating_point():
            raise SensoriumError("It reconstructs numbers.")
        masked = view.info.get("masked", torch.rand(tokens.x.shape[:2], device=tokens.x.device) < 0.3)
        tokens.x = torch.where(masked[..., None], self.mask_token.to(tokens.x.dtype), tokens.x)
        return Outcome(self.loss_of(self.head(encode.encode_tokens(view, tokens).tokens), targets, masked))


@caught_by("is invariant to record order")
class ReconstructsAnother(Reconstructs):
    """Compares with the targets of the next record."""

    def loss_of(self, predicted, targets, masked):
        return super().loss_of(predicted, targets.roll(1, 0), masked)


@caught_by("learns the targets of its own records")
class ReconstructsAnyRecord(Reconstructs):
    """Compares with the targets of a record drawn anew each time."""

    def loss_of(self, predicted, targets, masked):
        return super().loss_of(predicted, targets[torch.randperm(len(targets), device=targets.device)], masked)


class Classifies(Objective):
    """Predicts the class of a view."""

    needs = Needs(target="class")

    def build(self, encoders):
        self.head = nn.Linear(encoders.single.dim, encoders.classes)

    def forward(self, views, encode):
        ((features,), (view,)) = encode(views), views
        loss = F.cross_entropy(self.head(features.pooled).float(), self.targets(view.target), reduction="sum")
        return Outcome(collectives.share(loss, collectives.count_rows(view.target)))

    def targets(self, target):
        return target


@caught_by("learns the targets of its own records")
class ClassifiesAnother(Classifies):
    """Compares with the target of the next record."""

    def targets(self, target):
        return target.roll(1, 0)


class AlignsThree(Objective):
    """Contrasts every two of exactly three modalities."""

    needs = Needs(modalities=3)

    def build(self, encoders):
        self.project = nn.ModuleDict({name: nn.Linear(e.dim, 8) for name, e in encoders.items()})

    def embed(self, modality, pooled):
        return self.project[modality](pooled)

    def among(self, both, present):
        return rows_among(both, present)

    def forward(self, views, encode):
        seen = [view for (view,) in views.values()]
        embedded = [self.embed(view.modality, f.pooled) for view, f in zip(seen, encode(seen), strict=True)]
        total = 0.0
        for (a, x), (b, y) in combinations(zip(seen, embedded, strict=True), 2):
            both = present_in_all([a.present, b.present])
            x, y = (self.rows(z, self.among(both, view.present)) for z, view in ((x, a), (y, b)))
            total = total + losses.clip(x, y, 10.0)
        return Outcome(total)

    @staticmethod
    def rows(x, index):
        return x if index is None else x.index_select(0, to_device([index], x.device)[0])


class Symile(AlignsThree):
    """Contrasts the product of three modalities (Saporta et al. 2024), negatives of the last one."""

    def forward(self, views, encode):
        seen = [view for (view,) in views.values()]
        x, y, z = (
            F.normalize(self.embed(view.modality, f.pooled).float(), dim=1)
            for view, f in zip(seen, encode(seen), strict=True)
        )
        all_three = present_in_all([view.present for view in seen])
        x, y, z = (self.rows(a, rows_among(all_three, v.present)) for a, v in zip((x, y, z), seen, strict=True))
        (keys, start), count = collectives.all_gather(z), collectives.count_rows(x)
        own = start + torch.arange(len(x), device=x.device)
        loss = F.cross_entropy(10 * (x * y) @ keys.T, own, reduction="sum")
        return Outcome(collectives.share(loss, count))


@caught_by("handles missing modalities")
class NeedsAllThree(AlignsThree):
    """Takes every record to have every modality."""

    def among(self, both, present):
        return None


@caught_by("is invariant to record order")
class SymileWithAnotherRecord(Symile):
    """Multiplies with the second modality of the next record."""

    def embed(self, modality, pooled):
        return super().embed(modality, pooled.roll(1, 0) if modality == "modality1" and self.training else pooled)


def _cosine(x, y):
    count = collectives.count_rows(x)
    return collectives.share(F.cosine_similarity(x.float(), y.float()).sum(), count)
