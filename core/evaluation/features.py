"""Feature tables of records: embeddings, likelihoods and baseline features, all read in one pass over the records.

Every rank reads its slice (`read_features`); rank 0 makes tables of what the ranks read (`feature_tables`). Letters: n
records of a batch that have a modality, N records of a part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from sensorium.contracts import Modality, RecordColumns
from sensorium.errors import SensoriumError
from sensorium.evaluation.directions import BASELINE, TARGET, Direction, directions
from sensorium.feature_table import FeatureTable, Layer, ValueFeatures, joined
from sensorium.models.layers import layers_of
from sensorium.models.model import Model, joined_rows
from sensorium.presence import Presence, present_in_all, present_in_any, rows_among
from sensorium.types import Batch, RecordBatch, Span

Columns = dict[str, tuple[Tensor, Presence]]
"""Column -> float (n, D), the rows of the records of a batch that have it, and which records these are.

In the space "layers" (n, L, D), in "tokens" (n, T, D).
"""
Samples = Mapping[str, np.ndarray]
"""Space -> positions in the source, ascending, of the records that its tables have; a space without has all."""
PIECE = 2**28
"""Bytes of one column that are gathered on the device before they are brought to the host."""
ROWS = 1024
"""Rows of a column that are checked at once."""


class FeatureReader(ABC):
    """Makes the features of batches of records, for one table of each of its spaces."""

    columns: Mapping[str, Sequence[str]]
    """Space -> the columns that its table has even where no record has a value."""
    samples: Samples = {}  # noqa: RUF012 - never changed
    """Of which records a space has rows, where not of all."""
    layers: Mapping[str, tuple[Layer, ...]] = {}
    """Modality name -> what its layers are, in the space "layers"."""

    @abstractmethod
    def __call__(self, records: RecordBatch) -> Mapping[str, Columns]:
        """Return space -> the columns of a batch; a column of width 0 is left out of the table."""


class ModelReader(FeatureReader):
    """Embeds records with a model, encoding each once for all spaces.

    Args:
        model: the model.
        spaces: "features", "embedding", "scores", "predictions", "layers" or "tokens". An encoder that has no layers,
            or no tokens, has no column there.
        samples: of which records, where not of all.
        predicts: in the space "predictions", predict one modality from others, not only read what it is.
    """

    def __init__(
        self, model: Model, spaces: Collection[str], samples: Samples | None = None, predicts: bool = True
    ) -> None:
        self.model, self.predicts = model, predicts
        self.encoded = [space for space in spaces if space not in OF_OBJECTIVE]
        self.columns = {space: model.modalities if space in POOLED else () for space in spaces}
        self.samples = samples or {}
        if "layers" in spaces:
            stacks = {name: model.learner.encoder(name).layer_stack() for name in model.modalities}
            self.layers = {name: layers_of(stack) for name, stack in stacks.items() if stack is not None}

    def __call__(self, records: RecordBatch) -> Mapping[str, Columns]:
        """Embed a batch, and score it if the scores are asked for."""
        made: dict[str, Columns] = {space: {} for space in self.columns}
        chosen = {space: self._chosen(space, records) for space in self.encoded}
        spaces = [space for space, rows in chosen.items() if rows is None or rows.any()]
        for column, name, batch, present in _values_of(records) if spaces else ():
            for space, x in self.model.encode_in(spaces, name, batch).items():
                x = _half(x) if space == "tokens" else x
                made[space][column] = _rows_of(chosen[space], x, present)
        if "scores" in made:
            made["scores"] = self._scores(records)
        if "predictions" in made:
            made["predictions"] = self._predictions(records)
        return made

    def _chosen(self, space: str, records: RecordBatch) -> np.ndarray | None:
        """Return which records of a batch a space has, bool (B,), None for all."""
        if space not in self.samples:
            return None
        assert records.positions is not None, "batches of a source have positions"
        return np.isin(records.positions, self.samples[space])

    def _predictions(self, records: RecordBatch) -> Columns:
        """Return the columns of the space "predictions" (see `Evaluator.space`), of the records that it has."""
        chosen, modalities = self._chosen("predictions", records), self.model.plan.modalities
        made: Columns = {}
        for name, batch in records.batches.items() if chosen is None or chosen.any() else ():
            baseline_ND = modalities[name].baseline_features(batch.to("cpu"))
            columns = {name: self.model.encode(name, batch, "features")}
            if baseline_ND is not None:
                columns[f"{name}{BASELINE}"] = torch.from_numpy(np.asarray(baseline_ND, np.float32))
            columns[f"{name}{TARGET}"] = self.model.token_targets(name, batch)
            made |= {column: _rows_of(chosen, x, records.present[name]) for column, x in columns.items()}
        if self.predicts:
            for direction in directions(self.model.modalities):
                if direction.target in made and any(source in made for source in direction.sources):
                    made[str(direction)] = self._predicted(direction, records, chosen)
        return made

    def _predicted(
        self, direction: Direction, records: RecordBatch, chosen: np.ndarray | None
    ) -> tuple[Tensor, Presence]:
        """Return the predictions of a direction for the records that have the target and one of the sources."""
        made_NTP = self.model.predict_tokens(records, *direction)
        if made_NTP is None:
            raise SensoriumError(
                "The objective of this run predicts no modality from others, which the space 'predictions' consists "
                "of: remove this evaluator, or train the objective 'multimae'."
            )
        have = present_in_any([records.present[name] for name in direction.sources if name in records.batches])
        present = present_in_all([records.present[direction.target], have])
        rows_N = rows_among(present, records.present[direction.target])
        if rows_N is not None:
            made_NTP = made_NTP[torch.from_numpy(rows_N).to(made_NTP.device)]
        return _rows_of(chosen, _half(made_NTP.clamp(min=-HALF, max=HALF)), present)

    def _scores(self, records: RecordBatch) -> Columns:
        scores = self.model.score(records)
        if scores is None:
            raise SensoriumError(
                "The objective of this run gives no likelihood of records, which the space 'scores' consists of: "
                "remove this evaluator, or train an objective that predicts tokens."
            )
        return {name: (values_B[:, None], None) for name, values_B in scores.items()}


POOLED = ("features", "embedding")
"""The spaces in which every encoder has features."""
OF_OBJECTIVE = ("scores", "predictions")
"""The spaces of what the objective makes of whole records."""
HALF = 6e4
"""Within the range of float16: beyond it are log-probabilities of what is as good as impossible."""


def _half(x_NTD: Tensor) -> Tensor:
    """Return tokens as float16, unless their values are beyond its range."""
    is_within = x_NTD.nan_to_num(posinf=torch.inf, neginf=-torch.inf).abs().amax() <= torch.finfo(torch.float16).max
    return x_NTD.half() if x_NTD.numel() and bool(is_within) else x_NTD


def _rows_of(chosen: np.ndarray | None, x: Tensor, present: Presence) -> tuple[Tensor, Presence]:
    """Return the rows, and the presence, of the chosen records of a batch: bool (B,), None for all."""
    if chosen is None:
        return x, present
    of_rows = chosen if present is None else chosen[np.asarray(present)]
    return x[torch.from_numpy(np.flatnonzero(of_rows)).to(x.device)], chosen if present is None else chosen & present


class BaselineReader(FeatureReader):
    """Computes the baseline features of records, on the CPU; modalities without any are left out.

    Args:
        modalities: name -> modality.
    """

    def __init__(self, modalities: Mapping[str, Modality]) -> None:
        self.modalities, self.columns = modalities, {"features": tuple(modalities)}
        kinds = Counter(map(type, modalities.values()))
        self.of_one_kind = [name for name, modality in modalities.items() if kinds[type(modality)] > 1]

    @property
    def spaces(self) -> set[str]:
        """The spaces whose tables have a row of them: of embeddings, where two modalities of one kind are compared."""
        return {"features", "embedding"} if self.of_one_kind else {"features"}

    def parts(
        self, read: Mapping[str, tuple[FeatureTable, FeatureTable]]
    ) -> Mapping[str, tuple[FeatureTable, FeatureTable]]:
        """Return space -> train and test tables, of the tables of baseline features."""
        if "embedding" not in self.spaces:
            return read
        train, test = (
            replace(table, features={name: table.features[name] for name in self.of_one_kind if name in table.features})
            for table in read["features"]
        )
        return {**read, "embedding": (train, test)}

    @property
    def about(self) -> str:
        """What they are, as tables say it."""
        named = {name: modality.baseline_description for name, modality in self.modalities.items()}
        lines = [(f"{name}: " * (len(named) > 1)) + text for name, text in named.items() if text]
        return ", ".join(lines)

    def __call__(self, records: RecordBatch) -> Mapping[str, Columns]:
        """Compute those of a batch."""
        made: Columns = {}
        for column, name, batch, present in _values_of(records):
            if name in self.modalities:
                x_ND = self.modalities[name].baseline_features(batch.to("cpu"))
                rows = torch.zeros(1, 0) if x_ND is None else torch.from_numpy(np.asarray(x_ND, np.float32))
                made[column] = rows, present
        return {"features": made}


FURTHER = "\0"
"""Stands in the name of a column of further values, before their rank."""


def _values_of(records: RecordBatch) -> Iterator[tuple[str, str, Batch, Presence]]:
    """Yield the values of every modality, the first of each record and then further ones by rank, with their column."""
    for name, batch in records.batches.items():
        yield name, name, batch, records.present[name]
    for name, ranks in records.further.items():
        for rank, (batch, present) in enumerate(ranks):
            yield f"{name}{FURTHER}{rank}", name, batch, present


@dataclass
class _Column:
    """The rows of one column: gathered on their device, and brought to the host piece by piece, not batch by batch."""

    on_host: list[np.ndarray] = field(default_factory=list)
    present: list[np.ndarray] = field(default_factory=list)
    on_device: list[Tensor] = field(default_factory=list)
    size: int = 0

    def add(self, x_ND: Tensor, present: Presence, count: int) -> None:
        self.on_device.append(
            x_ND.detach() if x_ND.dtype == torch.float16 and x_ND.ndim == 3 else x_ND.detach().float()
        )
        self.present.append(np.ones(count, bool) if present is None else present)
        self.size += 4 * x_ND.numel()
        if self.size >= PIECE:
            self.to_host()

    def add_absent(self, count: int) -> None:
        self.present.append(np.zeros(count, bool))

    def to_host(self) -> None:
        if self.on_device:
            self.on_host.append(joined_rows(self.on_device).cpu().numpy())
        self.on_device, self.size = [], 0

    def join(self, other: _Column) -> _Column:
        return _Column(self.on_host + other.on_host, self.present + other.present)

    @property
    def is_left_out(self) -> bool:
        return any(not x_ND.shape[1] for x_ND in self.on_host)

    def rows(self) -> np.ndarray:
        """Return the rows of the records that have a value; of width 0 when none has."""
        if len(self.on_host) > 1:
            self.on_host = [joined(self.on_host)]
        return self.on_host[0] if self.on_host else np.zeros((0, 0), np.float32)

    def matrix(self, present_N: np.ndarray) -> np.ndarray:
        """Return rows at the indices of their records, nan elsewhere; width 0 when no record has a value."""
        rows_ND = self.rows()
        if len(rows_ND) == len(present_N):
            return rows_ND
        x_ND = np.full((len(present_N), *rows_ND.shape[1:]), np.nan, rows_ND.dtype)
        x_ND[present_N] = rows_ND
        return x_ND


@dataclass
class FeatureRows:
    """What one rank read of a part, on the host; it can be pickled.

    Args:
        ids: of the records.
        positions: int64, where the source has them, batch by batch.
        spaces: of each reader, space -> column -> rows.
        samples: of each reader, of which records a space has rows, where not of all.
        layers: of each reader, modality name -> what its layers are.
    """

    ids: list[str]
    positions: list[np.ndarray]
    spaces: list[dict[str, dict[str, _Column]]]
    samples: list[Samples]
    layers: list[Mapping[str, tuple[Layer, ...]]]

    def columns(self) -> Iterator[_Column]:
        """Iterate over the columns of all readers and spaces."""
        for of_reader in self.spaces:
            for columns in of_reader.values():
                yield from columns.values()


@torch.no_grad()
def read_features(batches: Iterable[RecordBatch], readers: Sequence[FeatureReader]) -> FeatureRows:
    """Read records once, for all readers.

    Args:
        batches: each record once, in order.
        readers: what makes features of them.
    """
    spaces = [{space: {name: _Column() for name in names} for space, names in r.columns.items()} for r in readers]
    rows = FeatureRows([], [], spaces, [reader.samples for reader in readers], [reader.layers for reader in readers])
    for records in batches:
        assert records.positions is not None, "batches of a source have positions"
        for reader, of_reader in zip(readers, spaces, strict=True):
            for space, made in reader(records).items():
                _add(of_reader[space], made, len(rows.ids), len(records))
        rows.ids += records.ids
        rows.positions.append(records.positions)
    for column in rows.columns():
        column.to_host()
    return rows


def _add(columns: dict[str, _Column], made: Columns, before: int, count: int) -> None:
    """Add a batch of `count` records, which `before` records came before, to the columns of one space."""
    for name, (x_ND, present) in made.items():
        if name not in columns:
            columns[name] = _Column(present=[np.zeros(before, bool)])
        columns[name].add(x_ND, present, count)
    for name in columns.keys() - made.keys():
        columns[name].add_absent(count)


def feature_tables(
    parts: Sequence[FeatureRows], columns: RecordColumns | None, sampled_of: Mapping[str, int] | None = None
) -> list[dict[str, FeatureTable]]:
    """Make tables of what all ranks read of a part.

    Args:
        parts: what each rank read with the same readers, in rank order.
        columns: of all records of the source, for labels and groups; None leaves these out.
        sampled_of: space -> number of records of the part, of which its readers have a sample.

    Returns:
        Of each reader, space -> its table.

    Raises:
        SensoriumError: when a feature is not finite, with the record's id.
    """
    ids = [id for part in parts for id in part.ids]
    positions_N = np.concatenate([np.zeros(0, np.int64), *(at_B for part in parts for at_B in part.positions)])
    whole = FeatureTable(ids, {}, {}, {}, [""] * len(ids), positions_N)
    if columns is not None:
        read = columns.take(positions_N)
        whole = replace(whole, labels=label_columns(read), groups=group_names(read), times=times_of(read))
    tables = [
        {space: _table(whole, space, _join_ranks(parts, number, space), parts[0], number) for space in of_reader}
        for number, of_reader in enumerate(parts[0].spaces)
    ]
    for space, count in (sampled_of or {}).items():
        for of_reader in tables:
            if space in of_reader:
                of_reader[space].sampled_of = count
    return tables


def _table(
    whole: FeatureTable, space: str, columns: Mapping[str, _Column], part: FeatureRows, reader: int
) -> FeatureTable:
    """Return the table of one space of one reader: `whole`, or those of its records that the space has, with features.

    Args:
        whole: all records, without features.
        space: the space.
        columns: its columns over all ranks.
        part: what a rank read, for what is the same on all ranks.
        reader: the position of the reader.
    """
    kept = {name: column for name, column in columns.items() if not column.is_left_out}
    present = {name: np.concatenate([np.zeros(0, bool), *column.present]) for name, column in kept.items()}
    for name, column in kept.items():
        _check_finite(column.rows(), space, np.flatnonzero(present[name]), name.partition(FURTHER)[0], whole.ids)
    table = whole
    if (sample := part.samples[reader].get(space)) is not None:
        chosen = np.flatnonzero(np.isin(whole.positions, sample))
        table = whole.select(chosen)
        present = {name: present_N[chosen] for name, present_N in present.items()}
    features = {name: c.matrix(present[name]) for name, c in kept.items() if FURTHER not in name}
    further: dict[str, ValueFeatures] = {}
    for name, column in kept.items():
        if FURTHER in name:
            of, values = name.partition(FURTHER)[0], ValueFeatures(np.flatnonzero(present.pop(name)), column.rows())
            further[of] = further[of].join(values) if of in further else values
    layers = {name: of for name, of in part.layers[reader].items() if space == "layers" and name in features}
    return replace(table, features=features, present=present, further=further, layers=layers)


def _join_ranks(parts: Sequence[FeatureRows], reader: int, space: str) -> dict[str, _Column]:
    """Return the columns of one space over all ranks."""
    found: dict[str, _Column] = {}
    before = 0
    for part in parts:
        columns, count = part.spaces[reader][space], len(part.ids)
        for name in dict.fromkeys([*found, *columns]):
            mine = columns.get(name, _Column(present=[np.zeros(count, bool)]))
            found[name] = found.get(name, _Column(present=[np.zeros(before, bool)])).join(mine)
        before += count
    return found


def _check_finite(x: np.ndarray, space: str, rows_M: np.ndarray, name: str, ids: Sequence[str]) -> None:
    nonfinite_M = np.concatenate([np.zeros(0, bool), *(_nonfinite(part, space) for part in _pieces(x))])
    if nonfinite_M.any():
        raise SensoriumError(
            f"The features of '{name}' are not finite for {nonfinite_M.sum()} of {len(rows_M)} records, the first "
            f"is '{ids[int(rows_M[nonfinite_M.argmax()])]}': the training has diverged."
        )


def _nonfinite(x: np.ndarray, space: str) -> np.ndarray:
    """Return which rows have a value that is not finite, bool (M,); nan is none where it stands for no value.

    That is at padding in the space "tokens", where a record has one token at least, and behind the width of a layer.
    """
    finite = np.isfinite(x)
    if space == "tokens" or (space == "predictions" and x.ndim == 3):
        padding_MT = np.isnan(x).all(2)
        return ~(finite.all(2) | padding_MT).all(1) | padding_MT.all(1)
    if space == "layers":
        is_behind_LD = np.isnan(x).all(0)
        is_behind_LD[:, 0] = False
        return ~(finite | is_behind_LD).all((1, 2))
    return ~finite.all(1)


def _pieces(x: np.ndarray) -> list[np.ndarray]:
    """Return rows in pieces, so that what is computed of all of them is in memory for a piece at a time."""
    return [x[start : start + ROWS] for start in range(0, len(x), ROWS)]


def group_names(columns: RecordColumns) -> list[str]:
    """Return the group of each record; the prefix keeps an id from being the name of another record's group."""
    own = pc.binary_join_element_wise("record ", columns.id_column(), "")
    if columns.groups is None:
        return own.to_pylist()
    return pc.coalesce(pc.binary_join_element_wise("group ", columns.groups.cast(pa.string()), ""), own).to_pylist()


def times_of(columns: RecordColumns) -> list[Span | None]:
    """Return the time stamps of records, or nothing when none of them has any."""
    times = columns.times()
    return times if any(time is not None for time in times) else []


def label_columns(columns: RecordColumns, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Return label name -> object array (N,), None where a record lacks the label; of all labels that any record has.

    Args:
        columns: of the records.
        names: of the labels, which need not be any record's; None for all.
    """
    found = {}
    for name in columns.labels if names is None else names:
        cells_N = np.full(len(columns), None, object)
        if name in columns.labels:
            cells_N[:] = columns.labels[name].to_pylist()
        if names is not None or any(cell is not None for cell in cells_N):
            found[name] = cells_N
    return found
