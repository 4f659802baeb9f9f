"""What is passed between the parts: records, batches, views, features, outcomes.

Letters in shapes, here and everywhere: B records in a batch, T tokens or time steps, C channels, H and W height and
width, D features, N rows of any kind.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import GetAttrKey, register_pytree_node

from sensorium.errors import FaultKind, Location, PluginError, RecipeError
from sensorium.presence import Presence
from sensorium.record_keys import NO_KEYS, Keys, RecordKeys, changed, hashed, key_of, record_key


class Span(NamedTuple):
    """Time stamps of a part of a recording: both `numpy.datetime64`, or both numbers.

    Args:
        first: that of its first step.
        last: that of its last step.
    """

    first: float | np.datetime64
    last: float | np.datetime64


@dataclass(frozen=True, slots=True)
class Record:
    """One example as its source gives it.

    Args:
        id: stable name of the record, unique in its source; random draws and splits are functions of it.
        values: one raw value per field, or `Several`; a field that is absent or None is a missing modality, and a value
            that the source could not read an `Unreadable`.
        labels: what evaluators predict: name to number or string.
        split: "train", "val" or "test" when the source knows; None lets the recipe's fractions decide.
        group: records of one group never straddle a split, and count as each other's positives in retrieval;
            None makes the record a group of its own.
        time: the time stamps of its first and its last step, where it is a part of a recording, in the unit of the
            recording's stamps or else in steps.
    """

    id: str
    values: Mapping[str, Any]
    labels: Mapping[str, Any] = field(default_factory=dict)
    split: str | None = None
    group: str | None = None
    time: Span | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands among the values of a record for one that its source could not read: the others of the record are used.

    Args:
        reason: why, a clause without a full stop.
        kind: the kind of fault.
        where: the file, or the row and column of a table; None for what `Source.locate` says.
    """

    reason: str
    kind: FaultKind = "damaged"
    where: Location | str | None = None


class Several(tuple[Any, ...]):
    """Several raw values of one field of a record, such as the captions of an image; so is a list of texts or files.

    A training draws one of them in each epoch, as a function of (seed, epoch, id); evaluation reads all.

    Args:
        values: the raw values, in an order that stays.
    """

    __slots__ = ()

    def __new__(cls, values: Iterable[Any] = ()) -> Self:  # noqa: D102
        return super().__new__(cls, values)


@dataclass
class Batch:
    """Examples of one modality, ready for views and encoders.

    A modality subclasses it as a dataclass of tensors (or None) that all have their B examples along the first
    axis; moving, selecting and joining then come for free. A batch of another build (a graph batch) overrides the
    methods below; what it must know without waiting for a device, such as sizes, it holds as NumPy arrays. Every batch
    is a pytree of its fields.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)

        def flatten(batch: Batch) -> tuple[list[Any], list[str]]:
            names = [f.name for f in dataclasses.fields(batch)]
            return [getattr(batch, name) for name in names], names

        def flatten_with_keys(batch: Batch) -> tuple[list[tuple[Any, Any]], list[str]]:
            values, names = flatten(batch)
            return [(GetAttrKey(n), v) for n, v in zip(names, values, strict=True)], names

        register_pytree_node(
            cls,
            flatten,
            lambda values, names: cls(**dict(zip(names, values, strict=True))),
            flatten_with_keys_fn=flatten_with_keys,
            serialized_type_name=f"{cls.__module__}.{cls.__qualname__}",
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by field name; fields that are None, or that only the host knows, are left out."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def __len__(self) -> int:
        return next(iter(self.tensors().values())).shape[0]

    @property
    def device(self) -> torch.device:
        """The device of the batch."""
        return next(iter(self.tensors().values())).device

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return the batch on `device`."""
        moved = {n: t.to(device, non_blocking=non_blocking) for n, t in self.tensors().items()}
        return dataclasses.replace(self, **moved)

    def pin_memory(self) -> Self:
        """Return the batch in page-locked memory, from which copies to a GPU need not wait."""
        return dataclasses.replace(self, **{n: t.pin_memory() for n, t in self.tensors().items()})

    def select(self, index: Tensor) -> Self:
        """Return the examples at `index`: int64 positions (N,) or a bool mask (B,), there or on the host."""
        return dataclasses.replace(self, **{n: t[index] for n, t in self.tensors().items()})

    @classmethod
    def cat(cls, batches: Sequence[Self]) -> Self:
        """Join batches along their examples; they must agree in every other axis."""
        columns = {n: torch.cat([b.tensors()[n] for b in batches]) for n in batches[0].tensors()}
        return dataclasses.replace(batches[0], **columns)

    def as_tensor(self) -> Any:
        """Return what a plain `nn.Module`, which knows no batches, takes of it: by default, its first tensor."""
        return next(iter(self.tensors().values()))

    def with_tensor(self, x: Tensor) -> Self:
        """Return the batch with another tensor in place of that of `as_tensor`, such as an augmented one."""
        return dataclasses.replace(self, **{next(iter(self.tensors())): x})

    def padding(self) -> tuple[int, ...]:
        """Return the lengths that examples are padded to, such as that of the longest text; none by default.

        What draws a number for each token draws as many as there are, padding included. A batch that is cut into parts
        is therefore padded alike in all of them (`padded_to`): so its views are those of the batch that is not cut.
        """
        return ()

    def padded_to(self, lengths: Sequence[int]) -> Self:
        """Return the batch padded to lengths, none shorter than those of `padding`, without waiting for a device.

        Args:
            lengths: as many as `padding` returns.
        """
        return self

    def shape_key(self) -> Hashable:
        """Return a key that is equal for batches that `cat` can join, so that one forward encodes both."""
        return (type(self), *((n, tuple(t.shape[1:]), t.dtype) for n, t in self.tensors().items()))


class RankedValues(NamedTuple):
    """One more value of one modality for records of a batch: their negatives of one rank, or their further values.

    Args:
        batch: a value for each record that has such a one, in record order.
        present: bool (B,), on the host: which records have one; None when all have.
    """

    batch: Batch
    present: Presence


@dataclass
class RecordBatch:
    """One batch of records: for every modality the batch of those that have it.

    Args:
        ids: the B record ids, in order.
        batches: modality name -> a batch of the records that have it, in record order.
        present: modality name -> bool (B,), on the host: which records have it; None when all have.
        keys: what records are recognized by, int64 (B,) by name (see `record_keys`), packed into one tensor.
        positions: int64 (B,), on the host: where the source has the records; None for records of no source.
        negatives: modality name -> the mined negatives of the records, hardest first.
        further: modality name -> the values beyond the first of records with several; in evaluation alone.
        descriptors: modality name -> descriptors of its values, float32 (N, P), where an objective asks for them.
    """

    ids: list[str]
    batches: dict[str, Batch]
    present: dict[str, Presence]
    keys: Keys = NO_KEYS
    positions: np.ndarray | None = None
    negatives: dict[str, list[RankedValues]] = field(default_factory=dict)
    further: dict[str, list[RankedValues]] = field(default_factory=dict)
    descriptors: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> RecordBatch:
        """Return the batch on `device`."""

        return self._each(
            lambda batch: batch.to(device, non_blocking=non_blocking),
            lambda x: x.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> RecordBatch:
        """Return the batch in page-locked memory."""
        return self._each(lambda batch: batch.pin_memory(), lambda x: x.pin_memory())

    def _each(self, change: Callable[[Batch], Batch], change_tensor: Callable[[Tensor], Tensor]) -> RecordBatch:
        """Return the batch with the batch of every modality, and the tensors of its records, changed."""

        def each_rank(values: dict[str, list[RankedValues]]) -> dict[str, list[RankedValues]]:
            return {
                name: [RankedValues(change(batch), present) for batch, present in ranks]
                for name, ranks in values.items()
            }

        return replace(
            self,
            batches={name: change(batch) for name, batch in self.batches.items()},
            keys=changed(self.keys, change_tensor),
            negatives=each_rank(self.negatives),
            further=each_rank(self.further),
            descriptors={name: change_tensor(rows_NP) for name, rows_NP in self.descriptors.items()},
        )


def record_keys(records: Sequence[Record], names: Collection[str] | None = None) -> RecordKeys:
    """Return what objectives recognize records by, the same in every process and every epoch.

    "record" is the record's own; "group" is the same for records of one group; "label:NAME" for records of one label.
    Keys are 63-bit hashes, never negative. A record without the group or the label has its own key there.

    Args:
        records: B of them.
        names: of the keys that are asked for; None for all that there are.
    """

    def key_of_record(record: Record, name: str) -> int:
        if name == "record":
            return record_key(record.id)
        kind, _, label = name.partition(":")
        value = record.group if name == "group" else record.labels.get(label)
        if value is None or value != value:  # nan is not itself
            return record_key(record.id)
        return hashed("group", value) if kind == "group" else hashed("label", label, value)

    if names is None:
        labels = sorted({label for record in records for label in record.labels})
        names = ["record", "group", *(f"label:{label}" for label in labels)]
    packed = [[key_of_record(record, name) for name in names] for record in records]
    return RecordKeys(tuple(names), torch.tensor(packed, dtype=torch.int64).reshape(len(records), len(names)))


@dataclass
class View:
    """A batch that a view generator made out of a batch, with what the objective needs to know of how.

    Args:
        batch: the made batch; its rows are the rows of the batch it was made from.
        target: what a pretext task predicts, one entry a row, or None.
        info: further tensors with rows along the first axis (positions, masks), by name.
        modality: name of the modality; "" until the learner knows it.
        present: bool (B,), on the host: which records of the record batch the rows stand for; None when all.
        keys: what the rows' records are recognized by (see `record_keys`); empty until the learner knows.
        is_negative: the rows are negatives of their own records: corrupted, or other records' values.
    """

    batch: Batch
    target: Tensor | None = None
    info: dict[str, Tensor] = field(default_factory=dict)
    modality: str = ""
    present: Presence = None
    keys: Keys = field(default_factory=dict)
    is_negative: bool = False

    def __len__(self) -> int:
        return len(self.batch)

    def key(self, name: str) -> Tensor:
        """Return what the rows' records are recognized by, int64 (N,).

        Args:
            name: "record", "group" or "label:NAME" (see `record_keys`).

        Raises:
            RecipeError: when the rows have no such key.
        """
        return key_of(self.keys, name)

    @property
    def descriptors(self) -> Tensor:
        """The descriptors of the rows' records, float32 (N, P), nan where undefined.

        Raises:
            RecipeError: when there are none.
        """
        if "descriptors" not in self.info:
            raise RecipeError(
                "The objective asks for the descriptors of each record, and its views have none: a training gives "
                "them, a loop of your own says transform.views(batch, descriptors=rows), one row for each record."
            )
        return self.info["descriptors"]


def valid_tokens(x_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
    """Return which tokens of x are valid, bool (B, T): those of the padding mask, all of them without one."""
    return torch.ones(x_BTD.shape[:2], dtype=torch.bool, device=x_BTD.device) if mask_BT is None else mask_BT


def at_least_one_row(x: Tensor) -> Tensor:
    """Return x (B, ...), or one row of zeros where it has none: for layers of libraries that refuse a batch of no rows.

    Whoever calls it cuts that row off again: `layer(at_least_one_row(x))[: len(x)]`.

    Args:
        x: any tensor with rows along its first axis.
    """
    return x if len(x) else torch.cat([x, x.new_zeros(1, *x.shape[1:])])


def take_tokens(x: Tensor, index_BK: Tensor) -> Tensor:
    """Return the tokens at `index_BK` of each record: (B, K, D) of x (B, T, D) or (1, T, D), (B, K) of x (B, T).

    Args:
        x: tokens (B, T, D) or (1, T, D), or what belongs to each, (B, T).
        index_BK: int64, indices in [0, T).
    """
    return torch.take_along_dim(x, index_BK if x.ndim == 2 else index_BK[..., None], dim=1)


@dataclass
class Features:
    """What an encoder makes of a batch.

    Args:
        pooled: float (B, D), one vector for each example; an encoder's own pooling gives fp32 under autocast too.
        tokens: float (B, T, D) for encoders that have them, else None.
        mask: bool (B, T), True where a token is valid, not padding; None when all are.
    """

    pooled: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None

    def valid(self) -> Tensor:
        """Return which tokens are valid, bool (B, T)."""
        assert self.tokens is not None, "features without tokens have no padding mask"
        return valid_tokens(self.tokens, self.mask)

    def take(self, index_BK: Tensor) -> Features:
        """Return the same features with the tokens at `index_BK`, int64 (B, K), alone."""
        tokens, mask = (None if t is None else take_tokens(t, index_BK) for t in (self.tokens, self.mask))
        return Features(self.pooled, tokens, mask)

    def require_tokens(self, objective: str) -> Tensor:
        """Return the tokens (B, T, D), of which an objective takes those of any encoder that returns some.

        Raises:
            RecipeError: when there are none.
        """
        if self.tokens is None:
            raise RecipeError(
                f"The objective '{objective}' compares tokens, and here are none: choose an encoder that returns "
                "them, and leave train.gradient_cache off, which keeps one vector of each record."
            )
        return self.tokens

    def split(self, sizes: Sequence[int]) -> list[Features]:
        """Cut along the first axis into parts of the given sizes."""
        parts = [self.pooled.split(list(sizes))]
        for extra in (self.tokens, self.mask):
            parts.append(extra.split(list(sizes)) if extra is not None else (None,) * len(sizes))
        return [Features(*columns) for columns in zip(*parts, strict=True)]


@dataclass
class Assignments:
    """How records are assigned to prototypes or codes, softly or hard, over the joined batch of all ranks.

    Args:
        used: scalar, 1 to K: exp of the entropy of the mean assignment, how many of K prototypes or codes are in use.
        entropy: scalar, in nats: mean entropy of one assignment; None for hard ones.
    """

    used: Tensor
    entropy: Tensor | None = None


@dataclass
class Outcome:
    """What an objective makes of one step.

    Args:
        loss: scalar. With several ranks, it is this rank's share, scaled so that the mean over ranks is the loss of
            the joined batch; the mean of gradients that DDP takes is then the gradient of the joined batch.
        logs: scalars to record, detached; they are averaged over ranks.
        features: detached (N, D) rows, by name, that the collapse alarm watches; the same names on every rank.
        assignments: what the collapse alarm watches of prototypes or codes, by name ("prototypes", "codes"); the same
            names on every rank.
        explained: explained variances of given targets, by name ("predictions"), scalars of at most 1 over the joined
            batch, of which the collapse alarm watches whether they fall; the same names on every rank.
    """

    loss: Tensor
    logs: dict[str, Tensor] = field(default_factory=dict)
    features: dict[str, Tensor] = field(default_factory=dict)
    assignments: dict[str, Assignments] = field(default_factory=dict)
    explained: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.loss.ndim:
            raise PluginError(
                f"The loss of an Outcome has the shape {tuple(self.loss.shape)}, and it is a scalar: return its mean."
            )


@dataclass(frozen=True)
class Needs:
    """What an objective asks of the rest of a recipe; checked before any data is read.

    Args:
        views: how many views of each record it takes.
        multicrop: it takes any number of views from `views` upwards.
        modalities: "one" (it receives a list of views), "many" (two or more: it receives modality name -> list of
            views), their exact number, such as 3, or "any" (one or more, by name).
        tokens: its encoders must be token encoders.
        target: the name of the target that its views must have; "class" for any that is one class for each record
            or each token; None for none.
        negative_views: it can use views marked `is_negative`.
        info: the entry of `View.info` that it makes use of where views have it; None for none.
        descriptors: its views must have the descriptors of their records, `View.info["descriptors"]`, float32 (B, P).
        teacher: each of its modalities must have a frozen teacher.
    """

    views: int = 1
    multicrop: bool = False
    modalities: Literal["one", "many", "any"] | int = "one"
    tokens: bool = False
    target: str | None = None
    negative_views: bool = False
    info: str | None = None
    descriptors: bool = False
    teacher: bool = False

    @property
    def is_crossmodal(self) -> bool:
        """Whether it receives its views by modality name, as those that take several modalities do."""
        return self.modalities != "one"

    def takes(self, modalities: int) -> bool:
        """Return whether it takes that many modalities."""
        if isinstance(self.modalities, int):
            return modalities == self.modalities
        return {"one": modalities == 1, "many": modalities > 1, "any": modalities > 0}[self.modalities]


@dataclass(frozen=True)
class TrainingSize:
    """The size of a training, of which `auto` values of a recipe are functions.

    Args:
        records: records of the train part.
        batch: records of one optimizer step, over all ranks.
        steps: optimizer steps of the whole training.
    """

    records: int
    batch: int
    steps: int

    def power_of_two(self, fraction: float, least: int, most: int) -> int:
        """Return the largest power of two up to a fraction of the records, within `least`, `most` and their number."""
        return 2 ** int(math.log2(max(min(max(fraction * self.records, least), most, self.records), 1)))

    def momentum(self, most: float = 0.996) -> float:
        """Return the initial momentum of an EMA teacher: its time constant is 1/20 of the steps, at least 100."""
        return min(1 - 1 / max(self.steps / 20, 100), most)
