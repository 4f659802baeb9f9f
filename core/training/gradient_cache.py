"""Gradient caching: one loss over a whole batch, at the memory of one part of it (Gao et al. 2021, section 3).

1. Every part is encoded without a graph; the features of all parts are joined.
2. The objective computes its one loss on them. Its heads and temperatures get their gradients here, once, and so do
   the features.
3. Every part is encoded again, with a graph and the same random draws, and its rows of that gradient are backpropagated
   into the encoders.

Only inputs and pooled features grow with the batch; activations are those of one part. Batch norm sees a
part at a time, as it does under plain accumulation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.contracts import Encode, Objective, Tokens
from sensorium.errors import SensoriumError
from sensorium.models.learner import Learner, Views
from sensorium.presence import join_presence
from sensorium.record_keys import Keys, RecordKeys
from sensorium.seeding import seed_globals
from sensorium.types import Batch, Features, Outcome, View

Step = Callable[[Objective, Any, Encode], Outcome]
"""Called by a learner instead of its objective, with objective, views and encoders."""


@dataclass
class PartedBatch(Batch):
    """Stands for a batch whose examples stay in its parts.

    Args:
        parts: number of the part -> its batch; parts without an example are left out.
    """

    parts: dict[int, Batch]

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    @property
    def device(self) -> torch.device:
        """The device of the parts."""
        return next(iter(self.parts.values())).device

    def select(self, index: Tensor) -> Batch:  # type: ignore[override]
        """Return the examples at `index` as a batch like those of the parts."""
        batches = list(self.parts.values())
        return type(batches[0]).cat(batches).select(index)

    def rows(self, part: int) -> slice:
        """Return which of the B rows a part's examples are."""
        start = sum(len(batch) for number, batch in self.parts.items() if number < part)
        return slice(start, start + len(self.parts[part]))


@dataclass
class _Call:
    """One call of encoders by the objective: the V views of one encoder, and the features (B, D) it was given of each.

    Of a part that has no example of a modality, a call has no view of it.
    """

    views: list[View]
    encoders: Mapping[str, nn.Module] | nn.ModuleDict
    pooled: list[Tensor]

    def parted(self, part: int) -> list[View]:
        """Return the views of one part."""
        batches = [_parts_of(view).parts for view in self.views]
        return [View(b[part], modality=v.modality) for v, b in zip(self.views, batches, strict=True) if part in b]

    def gradients(self, part: int) -> list[Tensor | None]:
        """Return the gradient of each of a part's views."""
        holders = [(z, _parts_of(v)) for v, z in zip(self.views, self.pooled, strict=True)]
        return [None if z.grad is None else z.grad[b.rows(part)] for z, b in holders if part in b.parts]


class GradientCache:
    """The passes of one step over the parts of a batch.

    The gradient is that of one loss over all parts, such as a contrastive loss in which every record of every part is a
    negative, at the memory of one part:

    ```python
    for step, parts in enumerate(steps):  # parts: for each part of the batch, its views
        outcome = GradientCache(parts, learner).backward()
        optimizer.step()
        optimizer.zero_grad()
    ```

    The objective receives pooled features alone; one that asks for tokens is refused.

    Args:
        parts: the views of each part, as `Learner` takes them: by modality, or a list of those of the only one.
        learner: whose encoders they are.
        seed: names from which the random draws of the step (dropout) are seeded, anew for each part, so that both
            passes draw alike; none draws a seed from torch's global generator. Global generators are seeded by it.

    Raises:
        SensoriumError: without a part, and for the views of one part in place of a list of parts.
    """

    def __init__(self, parts: Sequence[Views], learner: Learner, *seed: object) -> None:
        if not isinstance(parts, Sequence) or not parts or any(isinstance(part, View) for part in parts):
            raise SensoriumError(
                "GradientCache takes a list with the views of each part of the batch, but was given "
                f"{'a list without a part' if isinstance(parts, Sequence) and not parts else 'the views of one'}: hand "
                "in [views of the first part, views of the second, ...]."
            )
        self.learner, self.encoders, self.sharing = learner, learner.encoders, learner.sharing
        self.seed = seed or (int(torch.randint(2**62, ())),)
        self.parts = [learner.by_modality(views) for views in parts]
        sizes = [_count(views) for views in self.parts]
        self.views = {
            name: [
                joined
                for is_negative in (False, True)
                for joined in _join(
                    sizes, [[view for view in v[name] if view.is_negative == is_negative] for v in self.parts]
                )
            ]
            for name in self.parts[0]
        }
        self.calls: list[_Call] = []

    def backward(
        self,
        module: nn.Module | None = None,
        backward: Callable[[Tensor], object] = Tensor.backward,
        no_sync: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> Outcome:
        """Compute the gradient of the loss over all parts, added to `.grad` of the weights, and return its outcome.

        Args:
            module: what wraps the learner, such as DistributedDataParallel; None is the learner itself.
            backward: called with each scalar loss; `lambda loss: scaler.scale(loss).backward()` scales it.
            no_sync: makes a context in which gradients stay on this rank, which all passes but the last are in; None is
                the module's own `no_sync`, where it has one.
        """
        module = self.learner if module is None else module
        apart: Any = no_sync or getattr(module, "no_sync", nullcontext)
        with apart():
            outcome: Outcome = module(self.views, self.loss)
            backward(outcome.loss)
        for part, views in enumerate(self.parts):
            with apart() if part < len(self.parts) - 1 else nullcontext():
                backward(module(views, self.replay(part)).loss)
        return outcome

    def loss(self, objective: Objective, views: Any, encode: Encode) -> Outcome:
        """Compute the objective's loss on features of all parts, which have no graph behind them."""
        before = [buffer.clone() for buffer in self.encoders.buffers()]
        outcome = objective(views, _Caching(self, encode, self.encoders))
        for buffer, value in zip(self.encoders.buffers(), before, strict=True):
            buffer.copy_(value)  # the second pass starts where the first one did; its updates are those that stay
        return outcome

    def replay(self, part: int) -> Step:
        """Return what encodes a part again: a loss whose gradient is the part's contribution to the batch's."""

        def again(objective: Objective, views: Any, encode: Encode) -> Outcome:
            features: list[Tensor] = []
            gradients: list[Tensor] = []
            for number, call in enumerate(self.calls):
                found = call.gradients(part)
                if all(gradient is None for gradient in found):
                    continue
                for f, gradient in zip(self.encode(encode, call, number, part), found, strict=True):
                    if gradient is not None:
                        features.append(f.pooled)
                        gradients.append(gradient)
            trained = [p for module in (objective, self.encoders) for p in module.parameters() if p.requires_grad]
            return Outcome(_Carry.apply(gradients, *features, *trained))

        return again

    def encode(self, encode: Encode, call: _Call, number: int, part: int) -> list[Features]:
        """Return a part's features in a call; its random draws are functions of step, part and call alone."""
        seed_globals(*self.seed, part, number)
        through = encode if call.encoders is self.encoders else encode.using(call.encoders)
        return through(call.parted(part))


class _Caching(Encode):
    """The encoders as the objective sees them in the first pass."""

    def __init__(self, cache: GradientCache, encode: Encode, encoders: Mapping[str, nn.Module] | nn.ModuleDict) -> None:
        self._cache, self._encode, self._encoders = cache, encode, encoders

    def __call__(self, views: Sequence[View]) -> list[Features]:
        pooled: list[Tensor] = []
        for encoder, run in groupby(views, key=lambda view: self._cache.sharing[view.modality]):
            group = list(run)
            trains = torch.is_grad_enabled() and any(p.requires_grad for p in self._encoders[encoder].parameters())
            if all(isinstance(view.batch, PartedBatch) for view in group):
                pooled += self._joined(group, trains)
            elif trains:
                raise SensoriumError(
                    "With train.gradient_cache an objective encodes the views that it is given, whole; this one makes "
                    "batches of its own: leave train.gradient_cache off."
                )
            else:
                pooled += [f.pooled for f in self._encode.using(self._encoders)(group)]
        return [Features(z_BD) for z_BD in pooled]

    def _joined(self, views: list[View], trains: bool) -> list[Tensor]:
        """Return the features (B, D) of each view over all parts; they ask for a gradient where encoders train."""
        call, number = _Call(views, self._encoders, []), len(self._cache.calls)
        rows: list[list[Tensor]] = [[] for _ in views]
        with torch.no_grad():
            for part in range(len(self._cache.parts)):
                there = [of_view for of_view, view in zip(rows, views, strict=True) if part in _parts_of(view).parts]
                encoded = self._cache.encode(self._encode, call, number, part) if there else []
                for of_view, f in zip(there, encoded, strict=True):
                    of_view.append(f.pooled)
        call.pooled = [torch.cat(of_view).requires_grad_(trains) for of_view in rows]
        self._cache.calls.append(call)
        return call.pooled

    def tokenize(self, view: View) -> Tokens:
        raise _pooled_only()

    def encode_tokens(self, view: View, tokens: Tokens, keep: Tensor | None = None) -> Features:
        raise _pooled_only()

    def token_targets(self, view: View) -> Tensor:
        raise _pooled_only()

    def layers(self, view: View, numbers: Sequence[int]) -> list[Features]:
        raise _pooled_only()

    def using(self, encoders: Mapping[str, nn.Module] | nn.ModuleDict) -> Encode:
        return _Caching(self._cache, self._encode, encoders)


class _Carry(torch.autograd.Function):
    """Returns zero; its gradient for each of the features (B, D) is one computed before.

    That gradient already includes the loss scale (of half precision), so the incoming gradient is ignored. Behind the
    features come the trained parameters, which get none: those of heads have theirs, and DDP waits for all of them.
    """

    @staticmethod
    def forward(ctx, gradients: list[Tensor], *features: Tensor) -> Tensor:
        ctx.gradients, ctx.others = gradients, len(features) - len(gradients)
        return features[0].new_zeros(())

    @staticmethod
    def backward(ctx, grad: Tensor):
        return None, *ctx.gradients, *[None] * ctx.others


def _count(views: Mapping[str, Sequence[View]]) -> int:
    """Return the number of records of a part."""
    view = next(view for of_modality in views.values() for view in of_modality)
    return len(view) if view.present is None else len(view.present)


def _join(sizes: Sequence[int], views: Sequence[list[View]]) -> list[View]:
    """Return the views of one modality over all parts, of that many records each; a part may lack the last of them."""
    joined = []
    for number in range(max(map(len, views))):
        there = {part: of_part[number] for part, of_part in enumerate(views) if number < len(of_part)}
        same = list(there.values())
        present = join_presence(
            [there[part].present if part in there else np.zeros(size, bool) for part, size in enumerate(sizes)], sizes
        )
        target = None if same[0].target is None else torch.cat([view.target for view in same])
        mappings = [f.name for f in fields(View) if isinstance(getattr(same[0], f.name), dict | RecordKeys)]
        rows = {name: _cat([getattr(view, name) for view in same]) for name in mappings}
        batch = PartedBatch({part: view.batch for part, view in there.items()})
        joined.append(replace(same[0], batch=batch, target=target, present=present, **rows))
    return joined


def _cat(parts: Sequence[Keys]) -> dict[str, Tensor]:
    """Join the rows of what all parts have."""
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: torch.cat([part[name] for part in parts]) for name in shared}


def _parts_of(view: View) -> PartedBatch:
    assert isinstance(view.batch, PartedBatch)
    return view.batch


def _pooled_only() -> SensoriumError:
    return SensoriumError(
        "train.gradient_cache keeps one vector of each record, and the objective asks for tokens: leave it off."
    )
