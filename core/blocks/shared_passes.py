"""The passes through encoders that several objectives share in one step: what they encode alike is encoded once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sensorium.contracts import Encode, Tokens
from sensorium.parallel import collectives
from sensorium.types import Features, View

Kind = Literal["features", "tokens", "targets"]


class Seen(NamedTuple):
    """One of the times that an objective has a view encoded in a step.

    Args:
        encoder: that runs.
        view: the view, by identity.
        time: how often the objective had it encoded before.
    """

    encoder: nn.Module
    view: View
    time: int

    def same(self, other: Seen) -> bool:
        """Whether another objective's pass is this one."""
        return self.encoder is other.encoder and self.view is other.view and self.time == other.time


@dataclass
class _Pass:
    """What a pass returned for one view, or for several views whose features depend on each other."""

    kind: Kind
    seen: list[Seen]
    made: list[Any]
    has_graph: bool

    def serves(self, kind: Kind, seen: Sequence[Seen], with_graph: bool) -> bool:
        """Whether it stands for another pass, which asks for a gradient or not."""
        return (
            self.kind == kind
            and (self.has_graph or not with_graph)
            and len(self.seen) == len(seen)
            and all(one.same(other) for one, other in zip(self.seen, seen, strict=True))
        )


class SharedPasses:
    """The passes of one step.

    The n-th time that an objective has a view encoded is one pass with the n-th time of every other objective: two
    passes of one view in one objective, under two dropout masks, stay two. A pass without gradient, such as of targets,
    may take one that has a gradient, detached, but not the other way round. Features that depend on the other views of
    their batch, by batch norms in training mode, are shared between equal calls alone: every objective's loss, and its
    gradient, is what it is without the others. What an objective makes views of its own of, and its EMA teacher, which
    nobody else has, is its own.

    Args:
        views: of the step, which objectives are given.
        sharing: modality name -> the name of the modality whose encoder it has.
    """

    def __init__(self, views: Sequence[View], sharing: Mapping[str, str]) -> None:
        self.views, self.sharing = list(views), sharing
        self._passes: list[_Pass] = []

    def find(self, kind: Kind, seen: Sequence[Seen]) -> list[Any] | None:
        """Return what a pass returned that stands for another one, detached where no gradient is asked for."""
        with_graph = torch.is_grad_enabled()
        for made in self._passes:
            if made.serves(kind, seen, with_graph):
                return made.made if with_graph or not made.has_graph else [detached(one) for one in made.made]
        return None

    def keep(self, kind: Kind, seen: Sequence[Seen], made: list[Any]) -> None:
        """Keep what a pass returned, unless a view is an objective's own."""
        if all(any(one.view is view for view in self.views) for one in seen):
            self._passes.append(_Pass(kind, list(seen), made, torch.is_grad_enabled()))


class GradientNorms:
    """Notes, in the backward pass, the norm of the gradient that each objective sends to what encoders return.

    Norms are relative to the gradient of the total loss, so that a loss scale of half precision and the number of
    accumulated parts leave them alone; the device is never waited for.
    """

    def __init__(self) -> None:
        self._seed: Tensor | None = None
        self._norms: dict[str, Tensor] = {}

    def at_total(self, loss: Tensor) -> Tensor:
        """Return the total loss, whose gradient is noted."""
        return _AtLoss.apply(self, loss)  # type: ignore[no-any-return, no-untyped-call]

    def at_features(self, objective: str, features: Features) -> Features:
        """Return features whose gradient from an objective is noted."""
        given = [x for x in (features.pooled, features.tokens) if x is not None]
        if not torch.is_grad_enabled() or not any(x.requires_grad for x in given):
            return features
        if objective not in self._norms:
            self._norms[objective] = torch.zeros((), device=features.pooled.device)
        pooled_BD, *tokens = _AtFeatures.apply(self, objective, *given)  # type: ignore[no-untyped-call]
        return replace(features, pooled=pooled_BD, tokens=tokens[0] if tokens else None)

    def logs(self) -> dict[str, Tensor]:
        """Return scalars by objective, which the backward pass writes: until then they are zero."""
        return dict(self._norms)

    def note_seed(self, gradient: Tensor) -> None:
        """Note the gradient of the total loss."""
        self._seed = gradient.detach().float()

    def note(self, objective: str, gradients: Sequence[Tensor]) -> None:
        """Add gradients of an objective to its norm. Of a rank's share it is that of the joined batch, divided up."""
        assert self._seed is not None, "the total loss is reached first"
        parts = [torch.linalg.vector_norm(gradient.float()) for gradient in gradients]
        share = self._seed.abs() * math.sqrt(collectives.world_size())
        norm = self._norms[objective]
        norm.copy_(torch.linalg.vector_norm(torch.stack([norm, *(part / share for part in parts)])))


class _AtLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, norms: GradientNorms, loss: Tensor) -> Tensor:
        ctx.norms = norms
        return loss.view_as(loss)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        ctx.norms.note_seed(gradient)
        return None, gradient


class _AtFeatures(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, norms: GradientNorms, objective: str, *given: Tensor) -> tuple[Tensor, ...]:
        ctx.norms, ctx.objective = norms, objective
        ctx.set_materialize_grads(False)
        return tuple(x.view_as(x) for x in given)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        ctx.norms.note(ctx.objective, [gradient.detach() for gradient in gradients if gradient is not None])
        return None, None, *gradients


class SharingEncode(Encode):
    """The encoders as one of several objectives calls them in a step.

    Args:
        encode: runs the encoders.
        encoders: the same, by modality name.
        passes: of the step, which all objectives share.
        note: called with features that the objective is given, returns them; None for encoders that are not trained.
    """

    def __init__(
        self,
        encode: Encode,
        encoders: Mapping[str, nn.Module] | nn.ModuleDict,
        passes: SharedPasses,
        note: Callable[[Features], Features] | None = None,
    ) -> None:
        self._encode, self._encoders, self._passes, self._note = encode, encoders, passes, note
        self._seen: list[tuple[Kind, Seen]] = []

    def __call__(self, views: Sequence[View]) -> list[Features]:
        """Return the features of each view, of passes that others have made where these stand for its own."""
        units = self._units(views)
        seen = [[self._next("features", view) for view in unit] for unit in units]
        made = [self._passes.find("features", of_unit) for of_unit in seen]
        missing = [number for number, found in enumerate(made) if found is None]
        for together in self._passes_of(units, missing):
            features = self._encode([view for number in together for view in units[number]])
            for number in together:
                count = len(units[number])
                made[number], features = features[:count], features[count:]
                self._passes.keep("features", seen[number], made[number] or [])
        found = [features for of_unit in made for features in of_unit or []]
        return found if self._note is None else [self._note(features) for features in found]

    def tokenize(self, view: View) -> Tokens:
        """Return the tokens of a view, likewise."""
        return self._once("tokens", view, self._encode.tokenize)

    def encode_tokens(self, view: View, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode tokens, which are masked or picked by the objective: the pass is its own."""
        features = self._encode.encode_tokens(view, tokens, keep)
        return features if self._note is None else self._note(features)

    def token_targets(self, view: View) -> Tensor:
        """Return the reconstruction targets of a view's tokens, made once."""
        return self._once("targets", view, self._encode.token_targets)

    def layers(self, view: View, numbers: Sequence[int]) -> list[Features]:
        """Return the features behind some blocks, of a pass of the objective's own."""
        return self._encode.layers(view, numbers)

    def using(self, encoders: Mapping[str, nn.Module] | nn.ModuleDict) -> Encode:
        """Return the same calls through other encoders: passes of an encoder that several use are shared, too."""
        return SharingEncode(self._encode.using(encoders), encoders, self._passes)

    def _once(self, kind: Kind, view: View, make: Callable[[View], Any]) -> Any:
        seen = [self._next(kind, view)]
        found = self._passes.find(kind, seen)
        if found is None:
            found = [make(view)]
            self._passes.keep(kind, seen, found)
        return found[0]

    def _next(self, kind: Kind, view: View) -> Seen:
        """Return which time it is that the objective has a view encoded."""
        encoder = self._encoder(view)
        before = [1 for of_kind, s in self._seen if of_kind == kind and s.view is view and s.encoder is encoder]
        seen = Seen(encoder, view, len(before))
        self._seen.append((kind, seen))
        return seen

    def _units(self, views: Sequence[View]) -> list[list[View]]:
        """Return the views one by one; runs of one encoder, whose features depend on each other, as one unit."""
        units: list[list[View]] = []
        for i, view in enumerate(views):
            joins = i > 0 and self._encoder(view) is self._encoder(views[i - 1])
            if joins and depends_on_batch(self._encoder(view)):
                units[-1].append(view)
            else:
                units.append([view])
        return units

    def _passes_of(self, units: Sequence[list[View]], missing: Sequence[int]) -> list[list[int]]:
        """Return which of the missing units are encoded in one call: adjacent ones, where it matters to features."""
        if not missing:
            return []
        if not any(depends_on_batch(self._encoder(units[number][0])) for number in missing):
            return [list(missing)]
        calls: list[list[int]] = []
        for number in missing:
            if calls and calls[-1][-1] == number - 1:
                calls[-1].append(number)
            else:
                calls.append([number])
        return calls

    def _encoder(self, view: View) -> nn.Module:
        name, owner = view.modality, self._passes.sharing[view.modality]
        return self._encoders[name if name in self._encoders else owner]


def depends_on_batch(encoder: nn.Module) -> bool:
    """Whether features of a record depend on the others of its batch: a norm takes its statistics from the batch."""
    return any(
        module.training and (isinstance(module, _BatchNorm) or hasattr(module, "running_mean"))
        for module in encoder.modules()
    )


def detached(made: Any) -> Any:
    """Return features, tokens or a tensor without a graph."""
    if isinstance(made, Tensor):
        return made.detach()
    parts = {f.name: getattr(made, f.name) for f in fields(made)}
    return replace(made, **{name: part.detach() for name, part in parts.items() if isinstance(part, Tensor)})
