"""The records that are curated: those of a run, of a file of embeddings, or of a source without any run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from sensorium.api.run_records import open_records
from sensorium.checking.subject import Subject, find_subject
from sensorium.checking.survey import fit_modalities
from sensorium.contracts import Source
from sensorium.curation.records import ComparedRecords, described
from sensorium.data.decoding import RecordDecoder
from sensorium.data.loader import iterate
from sensorium.data.patience import Patience
from sensorium.data.splits import PARTS, assign_parts, numbers_of, require_part
from sensorium.data.unreadable import UnreadableRecords
from sensorium.devices import find_device
from sensorium.embeddings.file import EmbeddingFile
from sensorium.embeddings.of_run import require_same
from sensorium.errors import DataError, RunError, SensoriumError, not_found
from sensorium.evaluation.features import BaselineReader, feature_tables, read_features
from sensorium.evaluation.previews import Previews
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.feature_table import FeatureTable
from sensorium.models.model import Model
from sensorium.neighbors.similarity import l2_normalize
from sensorium.parallel.rank_zero import on_rank_zero
from sensorium.registration.discovery import Extensions, load_extensions
from sensorium.runs.atomic import require_apart
from sensorium.runs.run import Run

log = logging.getLogger("sensorium")
T = TypeVar("T")
Use = Callable[[ComparedRecords, Model | None], T]
FEATURES, EMBEDDING = "features", "embedding"
BATCH = 256
"""Records that are described at once."""


@dataclass(frozen=True)
class Curated:
    """Which records are curated, and what compares them, as a caller says it.

    Args:
        target: a run folder; a file that `embed` wrote; whatever `check` takes; None for the records of `source`.
        out: the file that is written, none of those that are read; None writes nothing.
        overrides: `key.sub=value` texts.
        modality: the modality that is compared; None takes the first.
        part: "train", "val", "test" or "all".
        space: "embedding" or "features", of a run's encoder; None takes that of the file of vectors, or features.
        vectors: a file that `embed` wrote of these records, read in place of encoding them.
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that the target names.
        extensions: plugins.
        handed_in: what was handed in to the `fit` of the run.
    """

    target: Any
    out: str | Path | None
    overrides: Sequence[str]
    modality: str | None
    part: str
    space: str | None
    vectors: str | Path | None
    checkpoint: str
    device: str
    source: Any
    extensions: Extensions | None
    handed_in: Mapping[str, Any]

    def with_records(self, use: Use[T]) -> T:
        """Return what is made of the records, and of the run's model where there is one; collective.

        Raises:
            SensoriumError: when they cannot be read or compared.
        """
        require_part(self.part)
        self._require_apart(self.target, self.vectors)
        path = Path(self.target).expanduser() if isinstance(self.target, str | Path) else None
        if path is not None and Run(path).recipe_file.is_file():
            return self._of_run(path, use)
        if self.vectors is not None:
            raise RunError(
                "A file of vectors stands for the encoder of a run: name the run, or name the file alone in its place."
            )
        if path is not None and _is_embeddings(path):
            if self.overrides or self.source is not None:
                raise RunError(
                    f"{path} has records of its own and takes no changes of a recipe: name the run, and the file by "
                    "--vectors."
                )
            return use(self._of_file(EmbeddingFile(path)), None)
        subject = find_subject(self.target, self.overrides, self.extensions or load_extensions(), self.source)
        options = subject.data.source.options if subject.data.source else {}
        self._require_apart(subject.data.select, options, source=subject.source)
        return use(self._of_subject(subject), None)

    def _require_apart(self, *read: object, source: Source | None = None) -> None:
        """Raise an error where the file to write is one that is read."""
        if self.out is not None:
            require_apart(self.out, *read, endings=() if source is None else source.extensions)

    def _of_run(self, run: Path, use: Use[T]) -> T:
        """Use the records of a run, compared by its encoder."""
        model, evaluation = open_records(
            run, self.overrides, self.checkpoint, self.device, self.source, self.extensions, self.handed_in
        )
        self._require_apart(Run(run).records_file, evaluation.plan.source_options, source=evaluation.source)
        if self.vectors is not None:
            file = EmbeddingFile(self.vectors)
            space = self._space_of(file)
            require_same(file, model, space)
            return on_rank_zero(lambda: use(self._of_run_file(file, space, run, evaluation, model), model))
        space = self.space or FEATURES

        def used(table: FeatureTable) -> T:
            name = self._chosen(list(table.features))
            rows = np.flatnonzero(table.present[name])
            assert table.positions is not None, "batches of a source have positions"
            order = np.argsort(table.positions[rows])
            x_MD = l2_normalize(table.features[name][rows[order]], model.device)
            words = f"the {space} of {run}"
            return use(_records_of(evaluation, table.positions[rows[order]], x_MD, name, words), model)

        return evaluation.with_table(model, self.part, space, used)

    def _space_of(self, file: EmbeddingFile) -> str:
        """Return the space of a file of embeddings.

        Raises:
            RunError: when another one is asked for.
        """
        space = str(file.about.get("space", self.space or FEATURES))
        if self.space not in (None, space):
            raise RunError(
                f"'{file.path}' holds the space '{space}', not '{self.space}': embed once more with --space "
                f"{self.space}, or curate by '{space}'. Prompts are compared in the space 'embedding'."
            )
        return space

    def _of_run_file(
        self, file: EmbeddingFile, space: str, run: Path, evaluation: RunEvaluation, model: Model
    ) -> ComparedRecords:
        """Return the records of a run, compared by a file of their embeddings."""
        own = self._of_file(file, model.device)
        at_M = evaluation.source.columns().positions_of(own.columns.id_column(own.at_M))
        is_selected = evaluation.plan.recipe.data.select is not None
        if (unknown := np.flatnonzero(at_M < 0)).size and not is_selected:
            raise RunError(
                f"The record '{own.id(int(unknown[0]))}' of the file of embeddings is none of the source's: embed it "
                "again."
            )
        chosen = np.flatnonzero(at_M >= 0)  # data.select leaves out the others
        order = chosen[np.argsort(at_M[chosen])]
        x_MD = own.vectors(order)
        return _records_of(evaluation, at_M[order], x_MD, own.modality, f"the {space} of {run}")

    def _of_file(self, file: EmbeddingFile, device: torch.device | None = None) -> ComparedRecords:
        """Return the records of a file of embeddings, without previews."""
        self._space_of(file)
        name, columns = self._chosen(list(file.modalities)), file.columns()
        found = list(file.vectors(name, self.part))
        at_M = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in found)])
        if not len(at_M):
            raise DataError(f"No record of the part '{self.part}' in '{file.path}' has '{name}'.")
        x_MD = l2_normalize(np.concatenate([x_ND for _, x_ND in found]), device or find_device(self.device, "device"))
        words = f"the {file.about.get('space', 'vectors')} in {file.path}"
        return ComparedRecords(columns, _named_parts(columns.splits, len(columns)), at_M, x_MD, name, words)

    def _of_subject(self, subject: Subject) -> ComparedRecords:
        """Return the records of a source, compared by the baseline features of their modality."""
        if self.space == EMBEDDING:
            raise RunError(
                "The space 'embedding', in which prompts are compared, is that of a run: name its run folder."
            )
        name, source, data = self._chosen(list(subject.fields)), subject.source, subject.data
        subject = replace(subject, fields={name: subject.fields[name]}, modalities={name: subject.modalities[name]})
        parts = assign_parts(source, {"val": data.val, "test": data.test}, data.split_seed, subject.split)
        fit_modalities(subject, parts["train"])
        positions = np.arange(len(source)) if self.part == "all" else parts[self.part]
        bad = UnreadableRecords(len(source), data.max_bad, parts=parts, options=subject.options)
        patience = Patience(data.retries, data.timeout)
        decoder = RecordDecoder(source, subject.fields, subject.modalities, all_values=True, patience=patience)
        batches = iterate(decoder, positions, batch=BATCH, bad=bad, workers=data.workers)
        table = feature_tables([read_features(batches, [BaselineReader(subject.modalities)])], None)[0]["features"]
        if name not in table.features:
            raise SensoriumError(
                f"The modality '{name}' has no features without an encoder: train one, and curate with its run."
            )
        rows = np.flatnonzero(table.present[name])
        assert table.positions is not None, "batches of a source have positions"
        x_MD = l2_normalize(described(table.features[name][rows]), find_device(self.device, "device"))
        words = subject.modalities[name].baseline_description or "baseline features"
        return ComparedRecords(
            source.columns(),
            numbers_of(parts, len(source)),
            table.positions[rows],
            x_MD,
            name,
            f"baseline features ({words})",
            Previews(subject, source),
        )

    def _chosen(self, names: Sequence[str]) -> str:
        """Return the modality that is compared."""
        name = names[0] if self.modality is None and names else self.modality
        if name is None or name not in names:
            problem, known = f"There is no modality '{name}' to compare", ", ".join(names) or "none"
            raise RunError(not_found(problem, str(name), names, f"there are: {known}"))
        if self.modality is None and len(names) > 1:
            others = ", ".join(names[1:])
            log.info("compared by '%s'; --modality names another: %s", name, others)
        return name


def _records_of(
    evaluation: RunEvaluation, at_M: np.ndarray, x_MD: torch.Tensor, modality: str, words: str
) -> ComparedRecords:
    """Return the records of a run at some positions."""
    source = evaluation.source
    part_N = numbers_of(evaluation.parts, len(source))
    return ComparedRecords(source.columns(), part_N, at_M, x_MD, modality, words, Previews(evaluation.plan, source))


def _is_embeddings(path: Path) -> bool:
    """Return whether a file is one that `embed` wrote."""
    if not path.exists() or path.suffix.lower() not in (".parquet", ".lance"):
        return False
    try:
        return "space" in EmbeddingFile(path).about
    except RunError:  # it has no embeddings: a table
        return False


def _named_parts(splits: Any, count: int) -> np.ndarray:
    """Return the number of the part that each record is named to be in, int8 (N,), -1 for none."""
    if splits is None:
        return np.full(count, -1, np.int8)
    return np.array([PARTS.index(part) if part in PARTS else -1 for part in splits.to_pylist()], np.int8)
