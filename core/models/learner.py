"""The learner: the one root module of encoders and objective.

DDP, FSDP and a checkpoint each see one module; teachers and queues are submodules of the objective.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.blocks.sum import Sum
from sensorium.contracts import Encode, Encoder, Encoders, Objective, Tokens, ViewGenerator
from sensorium.contracts.objective import check_given, check_towers
from sensorium.devices import to_device
from sensorium.errors import RecipeError
from sensorium.models.cut import Cut, Piece
from sensorium.models.depth import rest_frozen
from sensorium.models.frozen_teachers import FrozenTeachers
from sensorium.models.layers import encode_with_layers, layer_features, pool_layers
from sensorium.models.several_views import SeveralViews
from sensorium.parallel import collectives
from sensorium.parallel.row_draws import RowDraws
from sensorium.presence import Presence
from sensorium.record_keys import changed
from sensorium.types import Batch, Features, Outcome, RecordBatch, View

FEW = 17
"""A part of fewer rows shows a view generator as many, so that sizes of two or three are not taken for rows."""
Views: TypeAlias = Mapping[str, Sequence[View]] | Sequence[View]
"""The views of one batch: by modality name, or a list of those of a learner's only modality."""


@dataclass(frozen=True)
class Absent:
    """What stands for a modality of a batch in which no record has it.

    Args:
        views: all views that it may have, with no rows.
        example: any batch of it.
    """

    views: list[View]
    example: Batch


def make_views(
    records: RecordBatch,
    generators: Mapping[str, ViewGenerator],
    rng: torch.Generator,
    absent: Mapping[str, Absent] | None = None,
    cut: Cut | None = None,
) -> dict[str, list[View]]:
    """Return the views of every modality of a batch, each with its modality and the records it stands for.

    Where the batch has descriptors of a modality, its views have them too, as `info["descriptors"]`.

    Behind a modality's own views stands one view of each rank of its mined negatives, marked as negatives.

    Args:
        records: the batch.
        generators: modality name -> view generator.
        rng: on the batch's device.
        absent: modality name -> what stands for those that no record of the batch has; without it, such a modality has
            no view.
        cut: which part of a larger batch this is: what is drawn for its records is then a cut of what is drawn for all.
            None for a batch that is not cut.
    """
    made: dict[str, list[View]] = {}
    no_record, without_rows = np.zeros(len(records), dtype=bool), absent or {}
    for name, generator in generators.items():
        if name in records.batches:
            views = _drawn(generator, records.batches[name], rng, cut and cut.own[name])
            if name in records.descriptors:
                descriptors_BP = records.descriptors[name]
                views = [replace(view, info={**view.info, "descriptors": descriptors_BP}) for view in views]
        else:
            here = without_rows.get(name)
            views = here.views[: generator.views + generator.negative_views] if here else []
            if here and cut:
                _pass_over(generator, here.example, rng, cut.own[name])
        made[name] = _marked(views, name, records.present[name], records)
    for name, ranks in records.negatives.items():
        views_of = _of_negatives(generators[name])
        for rank, (batch, present) in enumerate(ranks):
            view = replace(_drawn(views_of, batch, rng, cut and cut.negatives[name][rank])[0], is_negative=True)
            made[name] += _marked([view], name, present, records)
    for name, pieces in (cut.negatives if cut else {}).items():
        for piece in pieces[len(records.negatives.get(name, [])) :]:
            _pass_over(_of_negatives(generators[name]), without_rows[name].example, rng, piece)
    for name, here in without_rows.items():
        made[name] += _marked(here.views[len(made[name]) :], name, no_record, records)
    return made


def _of_negatives(generator: ViewGenerator) -> ViewGenerator:
    """Return what makes the views of mined negatives."""
    return generator.mined if isinstance(generator, SeveralViews) else generator


def _drawn(generator: ViewGenerator, batch: Batch, rng: torch.Generator, piece: Piece | None) -> list[View]:
    """Return the views of a batch, or of a piece of one, of which a few rows are shown repeatedly."""
    if piece is None:
        return generator(batch, rng)
    count = len(batch)
    if count >= FEW:
        with RowDraws(piece.rows):
            return generator(batch.padded_to(piece.padding), rng)
    repeated = batch.select(torch.arange(FEW) % count).padded_to(piece.padding)
    with RowDraws(piece.rows, shown=FEW):
        views = generator(repeated, rng)
    return [_first_rows(view, count) for view in views]


def _pass_over(generator: ViewGenerator, example: Batch, rng: torch.Generator, piece: Piece) -> None:
    """Draw what the parts of a batch draw that have a modality, so that what this one draws next is theirs, too."""
    if piece.rows.total:
        one = example.select(torch.zeros(1, dtype=torch.int64))
        _drawn(generator, one, rng, replace(piece, rows=replace(piece.rows, first=0, count=1)))


def _first_rows(view: View, count: int) -> View:
    """Return so many rows of a view, from the first, padded as it is."""
    return replace(
        view,
        batch=view.batch.select(torch.arange(count)).padded_to(view.batch.padding()),
        target=None if view.target is None else view.target[:count],
        info={name: value[:count] for name, value in view.info.items()},
    )


def views_without_rows(
    generator: ViewGenerator, example: Batch, mined: int, rng: torch.Generator, descriptors: int = 0
) -> Absent:
    """Return what stands for a modality: all views that a batch may have of it, with no rows.

    A rank whose records lack a modality encodes these, and so takes part in every collective operation of the encoder,
    forward and backward.

    Args:
        generator: the modality's.
        example: any batch of the modality.
        mined: number of mined negatives of each record in the modality.
        rng: on the batch's device.
        descriptors: number of descriptors that views have of each record; 0 for views without.
    """
    views = generator(example, rng)
    views += [replace(views[0], is_negative=True)] * mined
    more = {"descriptors": torch.zeros(0, descriptors, device=example.device)} if descriptors else {}
    without_rows = [_first_rows(view, 0) for view in views]
    return Absent([replace(view, info={**view.info, **more}) for view in without_rows], example)


def _marked(views: Sequence[View], modality: str, present: Presence, records: RecordBatch) -> list[View]:
    """Return views that know their modality, and the records that their rows stand for."""
    keys = records.keys
    if views and keys and present is not None:
        (index_N,) = to_device([np.flatnonzero(present)], views[0].batch.device)
        keys = changed(keys, lambda rows: rows[index_N])
    return [replace(view, modality=modality, present=present, keys=keys) for view in views]


class _UsedTogether(torch.autograd.Function):
    """Returns pooled features and tokens as they are; the gradient of the one that nobody uses is zero, not missing.

    Pooling may have weights of its own, which an objective of tokens alone does not reach: DDP would wait for their
    gradients.
    """

    @staticmethod
    def forward(ctx: Any, pooled_BD: Tensor, tokens_BTD: Tensor) -> tuple[Tensor, Tensor]:
        return pooled_BD, tokens_BTD

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return gradients


def _used_together(features: Features) -> Features:
    if features.tokens is None or not torch.is_grad_enabled():
        return features
    pooled_BD, tokens_BTD = _UsedTogether.apply(features.pooled, features.tokens)  # type: ignore[no-untyped-call]
    return replace(features, pooled=pooled_BD, tokens=tokens_BTD)


class _Encode(Encode):
    """The encoders by modality name, as objectives call them."""

    def __init__(self, encoders: Mapping[str, nn.Module] | nn.ModuleDict, sharing: Mapping[str, str]) -> None:
        self._encoders: Any = encoders
        self._sharing = sharing

    def _encoder(self, modality: str) -> Any:
        return self._encoders[modality if modality in self._encoders else self._sharing[modality]]

    def __call__(self, views: Sequence[View]) -> list[Features]:
        features: list[Features] = []
        for group in _joinable(views, self._sharing):
            batches = [view.batch for view in group]
            filled = [batch for batch in batches if len(batch)] or batches[:1]
            joined = type(filled[0]).cat(filled) if len(filled) > 1 else filled[0]
            encoded = _used_together(self._encoder(group[0].modality)(joined))
            features += encoded.split([len(batch) for batch in batches])
        return features

    def tokenize(self, view: View) -> Tokens:
        return self._encoder(view.modality).tokenize(view.batch)

    def encode_tokens(self, view: View, tokens: Tokens, keep: Tensor | None = None) -> Features:
        return _used_together(self._encoder(view.modality).encode_tokens(tokens, keep))

    def token_targets(self, view: View) -> Tensor:
        return self._encoder(view.modality).token_targets(view.batch)

    def layers(self, view: View, numbers: Sequence[int]) -> list[Features]:
        return layer_features(self._encoder(view.modality), view.batch, numbers)

    def using(self, encoders: Mapping[str, nn.Module] | nn.ModuleDict) -> _Encode:
        return _Encode(encoders, self._sharing)


def _joinable(views: Sequence[View], sharing: Mapping[str, str]) -> list[list[View]]:
    """Return runs of adjacent views of one encoder whose batches can be joined on every rank.

    Shapes may differ from rank to rank, and an encoder may be a collective operation: all call it equally often.
    (`itertools` is not traced by torch.compile.)
    """
    flags = [
        sharing[view.modality] == sharing[views[i].modality]
        and (not (len(view) and len(views[i])) or view.batch.shape_key() == views[i].batch.shape_key())
        for i, view in enumerate(views[1:])
    ]
    runs = [[view] for view in views[:1]]
    for view, joins in zip(views[1:], collectives.all_ranks(flags), strict=True):
        if joins:
            runs[-1].append(view)
        else:
            runs.append([view])
    return runs


class Learner(nn.Module):
    """Encoders and an objective as one module, for any loop:

    ```python
    learner = Learner({"image": encoder}, objective)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-3)
    for step, images in enumerate(batches):
        loss = learner(transform.views(images)).loss  # transform: see `sensorium.views`
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        learner.objective.after_step((step + 1) / steps)  # teachers, queues
    ```

    Everything that is learned is in its `state_dict`, heads, teachers and queues included. With several ranks, wrap it
    in DistributedDataParallel with `broadcast_buffers=False`, after `sensorium.batch_norm.synchronize(learner)`: the
    mean over ranks of its losses, and of its gradients, is that of the joined batch.

    Args:
        encoders: modality name -> encoder.
        objective: built here from the encoders: hand in one that no other learner has.
        classes: number of classes of the views' target (`ViewGenerator.classes`), if they have one.
        views: number of views of each record.
        sharing: modality name -> the name of its encoder, in the recipe's order; default its own name.
        descriptors: modality name -> number of descriptors that its views have of each record.
        teachers: modality name -> its frozen teacher, for objectives that predict one's features: encoders with their
            weights, which are frozen here, follow the learner to its device, and are in no state_dict.

    Raises:
        RecipeError: when the objective needs tokens that an encoder does not have, or another number of modalities;
            when it is built already; for what is no encoder or no objective.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        objective: Objective,
        classes: int | None = None,
        views: int = 1,
        sharing: Mapping[str, str] | None = None,
        descriptors: Mapping[str, int] | None = None,
        teachers: Mapping[str, Encoder] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(encoders, Mapping):
            raise RecipeError(
                f"The learner takes its encoders by modality, but was given {_kind(encoders)}: hand in a mapping, such "
                'as {"image": encoder}.'
            )
        self.sharing = dict(sharing or {name: name for name in encoders})
        seen = {name: encoders[owner] for name, owner in self.sharing.items()}
        _check_encoders(encoders, objective, tuple(seen))
        _check_teachers(teachers or {}, encoders)
        self.teachers = FrozenTeachers(teachers or {})
        check_given(type(objective).__name__, objective.needs, encoders, descriptors or {}, self.teachers)
        self.encoders = nn.ModuleDict(dict(encoders))
        self.objective = objective
        if not objective.needs.is_crossmodal:
            seen = dict(encoders)
        objective.build(Encoders(seen, classes, views, descriptors, self.teachers, self.sharing))
        objective.is_built = True

    def encoder(self, modality: str) -> Encoder:
        """Return the encoder of a modality, its own or one that it shares."""
        return self.encoders[self.sharing[modality]]  # type: ignore[return-value]

    def forward(self, views: Views, instead: Callable[[Objective, Any, Encode], Outcome] | None = None) -> Outcome:
        """Return the objective's outcome on the views of one batch.

        Args:
            views: modality name -> its views; or the views of the only modality, as a list.
            instead: called with objective, views and encoders instead of the objective (see `GradientCache`).

        Raises:
            RecipeError: for another number of views than the objective takes, and as `by_modality`.
        """
        named, encode = self.by_modality(views), _Encode(self.encoders, self.sharing)
        self._check_count(named)
        asked = self._asked(named)
        return instead(self.objective, asked, encode) if instead else self.objective(asked, encode)

    @torch.no_grad()
    def fit(self, batches: Iterable[Views]) -> None:
        """Let the objective learn from the train part, before the first step; see `Objective.fit`.

        Args:
            batches: the views of each batch, as `forward` takes them, of `objective.fits` records together.
        """
        was_training = self.training
        self.eval()
        asked = (self._asked(self.by_modality(views)) for views in batches)
        self.objective.fit(asked, _Encode(self.encoders, self.sharing))
        self.train(was_training)

    def by_modality(self, views: Views) -> dict[str, list[View]]:
        """Return views by modality name, each of which knows its modality.

        Args:
            views: as `forward` takes them.

        Raises:
            RecipeError: for a list where there are several modalities, a modality without an encoder, what is no list
                of views, or keys, targets and `info` of another length than the rows of their view.
        """
        if not isinstance(views, Mapping):
            if len(self.sharing) > 1:
                raise RecipeError(
                    f"The learner has the modalities {', '.join(self.sharing)}: give it its views by modality, a "
                    "mapping, not a list."
                )
            views = dict.fromkeys(self.sharing, views)
        if unknown := [name for name in views if name not in self.sharing]:
            raise RecipeError(
                f"The learner has no encoder for the views of '{unknown[0]}'; it has: {', '.join(self.sharing)}."
            )
        for name, of_modality in views.items():
            _check_views(name, of_modality)
        return {
            name: [view if view.modality == name else replace(view, modality=name) for view in of_modality]
            for name, of_modality in views.items()
        }

    def _asked(self, views: dict[str, list[View]]) -> dict[str, list[View]] | list[View]:
        """Return the views as the objective asks for them."""
        if self.objective.needs.is_crossmodal:
            return views
        return [view for of_tower in views.values() for view in of_tower]

    def _check_count(self, views: Mapping[str, Sequence[View]]) -> None:
        """Check that an objective of one modality is given as many views of each record as it takes."""
        needs, count = self.objective.needs, sum(not view.is_negative for found in views.values() for view in found)
        fits = count >= needs.views if needs.multicrop else count == needs.views
        if not fits and not needs.is_crossmodal:
            raise RecipeError(
                f"The objective {type(self.objective).__name__} takes {needs.views}{' or more' * needs.multicrop} "
                f"view(s) of each record, but was given {count}: hand in a list with as many, such as those of a "
                "transform of sensorium.views that makes them."
            )

    def score(self, views: Views) -> dict[str, Tensor] | None:
        """Return the likelihood of each record of a batch; see `Objective.score`.

        Args:
            views: as `forward` takes them.
        """
        return self.objective.score(self._asked(self.by_modality(views)), _Encode(self.encoders, self.sharing))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Learner:
        """Apply a function to all tensors, as `to` does: to those of frozen teachers, which are no submodules, too."""
        self.teachers.apply(fn)
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def token_targets(self, view: View) -> Tensor:
        """Return what the tokens of a view are, float (N, T, P), nan at padding; class ids as numbers, (N, T, 1).

        Args:
            view: of N records, which knows its modality.
        """
        encode = _Encode(self.encoders, self.sharing)
        valid_NT, targets = encode.tokenize(view).valid(), encode.token_targets(view)
        targets_NTP = targets if targets.is_floating_point() else targets[..., None].float()
        return targets_NTP.masked_fill(~valid_NT[..., None], torch.nan)

    def predict_tokens(self, views: Views, sources: Collection[str], target: str) -> Tensor | None:
        """Return the tokens of one modality as the objective predicts them from others; see `Objective.predict_tokens`.

        Args:
            views: as `forward` takes them, of modalities that a record of the batch has.
            sources: the modalities that are shown.
            target: the modality that is predicted.

        Returns:
            Float (N, T, P), nan at padding; the log-probabilities of classes where targets are class ids.
        """
        named, encode = self.by_modality(views), _Encode(self.encoders, self.sharing)
        made_NTP = self.objective.predict_tokens(named, encode, sources, target)
        if made_NTP is None:
            return None
        (view, *_) = named[target]
        if not encode.token_targets(view).is_floating_point():
            made_NTP = made_NTP.float().log_softmax(-1)
        return made_NTP.masked_fill(~encode.tokenize(view).valid()[..., None], torch.nan)

    def train(self, mode: bool = True) -> Learner:
        """Set the training mode; what is frozen of encoders stays in evaluation mode."""
        super().train(mode)
        for encoder in self.encoders.values():
            rest_frozen(encoder)
        return self

    def freeze_statistics(self, unfreezing: Mapping[str, tuple[float, float]], progress: float) -> None:
        """Put modules of encoders whose weights are all still frozen into evaluation mode.

        A frozen tower then has no dropout, and keeps the running statistics of its batch norms.
        """
        for name in unfreezing:
            encoder, frozen = self.encoders[name].train(self.training), self._frozen(name, unfreezing[name], progress)
            rest_frozen(encoder)
            for module in encoder.modules():
                own = {id(parameter) for parameter in module.parameters() if parameter.requires_grad}
                if own and own <= frozen.keys():
                    module.eval()

    def drop_frozen_gradients(self, unfreezing: Mapping[str, tuple[float, float]], progress: float) -> None:
        """Drop the gradients of weights that are not trained yet, so that this step does not change them.

        Those are the weights of terms of a sum that have not started, and encoder weights that are still frozen:
        between the two fractions of the training, these are unfrozen one by one, the last of an encoder first (as
        locked towers are unlocked in Zhai et al. 2022).
        """
        for parameter in self.objective.waiting_parameters() if isinstance(self.objective, Sum) else ():
            parameter.grad = None
        for name in unfreezing:
            for parameter in self._frozen(name, unfreezing[name], progress).values():
                parameter.grad = None

    def _frozen(self, name: str, fractions: tuple[float, float], progress: float) -> dict[int, nn.Parameter]:
        """Return the weights of an encoder that are still frozen, and will be trained, by identity."""
        (start, end), parameters = fractions, [p for p in self.encoders[name].parameters() if p.requires_grad]
        free = 1.0 if progress >= end else max((progress - start) / max(end - start, 1e-9), 0.0)
        return {id(parameter): parameter for parameter in parameters[: len(parameters) - int(free * len(parameters))]}

    def encode(
        self, modality: str, batch: Batch, spaces: Collection[str] = ("features", "embedding")
    ) -> dict[str, Tensor]:
        """Return one canonical batch in several spaces, encoded once.

        Args:
            modality: the batch's.
            batch: B examples.
            spaces: "features" for pooled features (B, D), "embedding" for their image in the joint space, "layers" for
                what the layers return (B, L, D) (see `pool_layers`), "tokens" for tokens (B, T, D), nan at padding.

        Returns:
            Space -> tensor; "layers" and "tokens" are left out where the encoder has none.
        """
        encoder = self.encoder(modality)
        stack = encoder.layer_stack() if "layers" in spaces and isinstance(encoder, Encoder) else None
        made: dict[str, Tensor] = {}
        if stack is None:
            features = encoder(batch)
        else:
            features, layers = encode_with_layers(encoder, stack, batch)
            made["layers"] = pool_layers(stack, layers)
        if "tokens" in spaces and features.tokens is not None:
            made["tokens"] = features.tokens.masked_fill(~features.valid()[..., None], torch.nan)
        if "features" in spaces:
            made["features"] = features.pooled
        if "embedding" in spaces:
            made["embedding"] = self.objective.embed(modality, features.pooled)
        return made


def _check_views(modality: str, views: Any) -> None:
    """Check that these are views, and that what belongs to their rows has as many."""
    given = list(views) if isinstance(views, list | tuple) else [views]
    batches = [view.batch if isinstance(view, View) else view for view in given]
    if (
        not isinstance(views, list | tuple)
        or not all(isinstance(view, View) for view in given)
        or not all(isinstance(batch, Batch) for batch in batches)
    ):
        other = [type(batch).__name__ for batch in batches if not isinstance(batch, Batch)] or ["batches"]
        kind = f"{type(views).__name__} of {other[0]}" if isinstance(views, list | tuple) else type(views).__name__
        raise RecipeError(
            f"The learner takes a list of views of '{modality}', but was given {kind}: hand in transform.views(x) of a "
            "transform of sensorium.views, or [sensorium.View(batch), ...]."
        )
    for view in views:
        of_rows = {"target": view.target} if view.target is not None else {}
        for what, values in [*of_rows.items(), *view.keys.items()]:
            if len(values) != len(view):
                raise RecipeError(
                    f"A view of '{modality}' has {len(view)} rows, but {len(values)} values of '{what}': hand in one "
                    "for each row."
                )


def _check_encoders(encoders: Mapping[str, Encoder], objective: Objective, towers: Sequence[str]) -> None:
    """Check that encoders are those that an objective needs, as a recipe's are before any data is read."""
    if not isinstance(objective, Objective):
        raise RecipeError(
            f"The learner's objective is {_kind(objective)}: hand in an instance of a sensorium.Objective, such as "
            'sensorium.build("objective", "simclr").'
        )
    if objective.is_built:
        raise RecipeError(
            f"The objective {type(objective).__name__} is built already, for another learner: hand in a new one, whose "
            "heads are made for this one."
        )
    for modality, encoder in encoders.items():
        if not isinstance(encoder, Encoder) and not hasattr(encoder, "dim"):
            raise RecipeError(
                f"The encoder of '{modality}' is {_kind(encoder)}: hand in a sensorium.Encoder, such as "
                "sensorium.models.plain_parts.ModuleEncoder(modality, module, dim) around a module."
            )
    check_towers(type(objective).__name__, objective.needs, encoders, towers)


def _check_teachers(teachers: Mapping[str, Any], encoders: Mapping[str, Encoder]) -> None:
    """Check that frozen teachers are encoders of the modalities."""
    for modality, teacher in teachers.items():
        if modality not in encoders:
            raise RecipeError(
                f"The learner was given a teacher of '{modality}', of which it has no encoder: it has those of "
                f"{', '.join(encoders)}."
            )
        if not isinstance(teacher, Encoder):
            raise RecipeError(
                f"The teacher of '{modality}' is {_kind(teacher)}: hand in a sensorium.Encoder with its weights, such "
                "as sensorium.load(RUN).learner.encoder(NAME)."
            )


def _kind(thing: Any) -> str:
    """Return what was handed in, as an error names it."""
    return f"the class {thing.__name__}" if isinstance(thing, type) else f"an object of type {type(thing).__name__}"
