"""Searching the embeddings of a run: writing them to a file, nearest neighbors, hard negatives."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sensorium.api.models import open_run
from sensorium.contracts import FeatureTable
from sensorium.errors import RunError, not_found
from sensorium.evaluation.labels import modality_pair
from sensorium.evaluation.previews import Previews
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.evaluation.similarity import nearest_neighbors
from sensorium.mining.hard_negatives import mine_negatives
from sensorium.mining.options import MiningOptions
from sensorium.mining.result import MiningResult, draw_negatives
from sensorium.models.model import Model
from sensorium.registration.discovery import Extensions
from sensorium.runs.atomic import write_atomically
from sensorium.runs.run import Run
from sensorium.training.fabric import join_ranks

log = logging.getLogger("sensorium")


def embed_source(
    run: str | Path,
    out: str | Path,
    overrides: Sequence[str] = (),
    *,
    part: str = "all",
    space: str = "embedding",
    checkpoint: str = "final",
    device: str = "auto",
    source: Any = None,
    extensions: Extensions | None = None,
) -> int:
    """Embed the records of a source with a run's model, and write them to an `.npz` file.

    Args:
        run: the run folder.
        out: the file: `ids`, and for each modality an array (N, D) with rows of nan where a record lacks it.
        overrides: `key.sub=value` texts applied to the run's recipe, such as `data.source.path=...`.
        part: "train", "val", "test" or "all".
        space: "embedding" for the space that the objective compares in, "features" for pooled features.
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that `data.source` names: a `Source`, or anything that `fit` takes.
        extensions: plugins, when not those that are installed.

    Returns:
        How many records were embedded.
    """
    model, evaluation = _measured(run, overrides, checkpoint, device, source, extensions)

    def write(table: FeatureTable) -> int:
        write_atomically(Path(out), lambda path: _write_npz(path, table.ids, table.features))
        return len(table)

    return evaluation.with_table(model, part, space, write)


def _write_npz(path: Path, ids: Sequence[str], features: Mapping[str, np.ndarray]) -> None:
    with open(path, "wb") as file:
        np.savez(file, **{"ids": np.array(ids), **features})  # type: ignore[arg-type]


def search(
    run: str | Path,
    query: Any,
    overrides: Sequence[str] = (),
    *,
    by: str | None = None,
    target: str | None = None,
    part: str = "all",
    count: int = 10,
    checkpoint: str = "final",
    device: str = "auto",
    source: Any = None,
    extensions: Extensions | None = None,
) -> list[tuple[str, float]]:
    """Find the records that lie nearest to a raw value in the space where the objective compares.

    Args:
        run: the run folder.
        query: a raw value: a text, the path of a file, an array.
        overrides: `key.sub=value` texts applied to the run's recipe, such as `data.source.path=...`.
        by: the modality that the query is of; None takes the first that reads files when it is the path of one, and
            otherwise the first that does not.
        target: the modality that is searched; None takes the first other one, or the only one.
        part: "train", "val", "test" or "all".
        count: how many records to find.
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that `data.source` names: a `Source`, or anything that `fit` takes.
        extensions: plugins, when not those that are installed.

    Returns:
        Ids and cosines, nearest first.

    Raises:
        SensoriumError: when the model has no such modality, or no record has the target.
    """
    model, evaluation = _measured(run, overrides, checkpoint, device, source, extensions)
    names = model.modalities
    if by is None:
        is_file = isinstance(query, str | Path) and Path(query).is_file()
        fitting = [name for name in names if model.plan.modalities[name].reads_files == is_file]
        if isinstance(query, str) and not is_file and not fitting:
            raise RunError(
                f"There is no file '{query}', and the run has no modality of text; it has {', '.join(names)}."
            )
        by = next(iter(fitting), names[0])
    target = target or next((name for name in names if name != by), by)
    for name in (by, target):
        if name not in names:
            raise RunError(not_found(f"The run has no modality '{name}'", name, names, f"it has {', '.join(names)}"))
    query_1D = model.embed(**{by: [query]})[by]

    def nearest(table: FeatureTable) -> list[tuple[str, float]]:
        rows = np.flatnonzero(table.present[target])
        if not len(rows):
            raise RunError(f"No record of the part '{part}' has '{target}': there is nothing to search.")
        targets_ND = table.features[target][rows]
        if query_1D.shape[1] != targets_ND.shape[1]:
            raise RunError(
                f"'{by}' and '{target}' have no joint embedding space: choose others with --by and --target."
            )
        if isinstance(query, str | Path):
            log.info("query       %s, as %s", query, by)
        log.info("searched    %s of %s records, part %s; cosine and id of the nearest:", target, f"{len(rows):,}", part)
        scores, indices = nearest_neighbors(query_1D, targets_ND, count, model.device)
        return [(table.ids[rows[i]], float(score)) for i, score in zip(indices[0], scores[0], strict=True)]

    return evaluation.with_table(model, part, "embedding", nearest)


def mine(
    run: str | Path,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    query: str | None = None,
    target: str | None = None,
    part: str = "train",
    count: int = 5,
    ranks: tuple[int, int] = (1, 100),
    margin: float = 0.05,
    choose: Literal["hardest", "random"] = "hardest",
    index: Literal["auto", "torch", "faiss"] = "auto",
    checkpoint: str = "final",
    device: str = "auto",
    source: Any = None,
    extensions: Extensions | None = None,
) -> MiningResult:
    """Mine hard negatives with a run's model; a recipe takes the file as `data.negatives`.

    Args:
        run: the run folder.
        out: the Parquet file to write (see `sensorium.data.mined_negatives`), with a contact sheet beside it,
            .png for .parquet, when both modalities draw; None writes nothing.
        overrides: `key.sub=value` texts applied to the run's recipe, such as `data.source.path=...`.
        query: modality that asks; None, with target None too, takes the first two, or the only one for both.
        target: modality that is searched for negatives.
        part: "train", "val", "test" or "all"; a training accepts negatives out of its train part alone.
        count: the most negatives of a query.
        ranks: first and last rank taken, 1 being the nearest of all that is neither positive nor a duplicate.
        margin: a negative's cosine is at most the least of the query's positives', minus this share of it.
        choose: "hardest", or "random" among those that ranks and margin leave.
        index: what searches, exactly in any case: "torch", "faiss", or "auto" for FAISS without a GPU.
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that `data.source` names: a `Source`, or anything that `fit` takes.
        extensions: plugins, when not those that are installed.

    Raises:
        SensoriumError: when nothing can be mined, in one sentence.
    """
    model, evaluation = _measured(run, overrides, checkpoint, device, source, extensions)
    options = MiningOptions(count, tuple(ranks), margin, choose, model.plan.recipe.seed)

    def mined_of(table: FeatureTable) -> MiningResult:
        asks, asked = query, target
        if asks is None and asked is None and len(model.modalities) == 1:
            asks = asked = model.modalities[0]
        if asks is None or asks != asked:
            asks, asked = modality_pair(table, asks, asked)
        values = evaluation.values(table.positions, {asks, asked})
        mined = mine_negatives(table, asks, asked, options, values, index, model.device)
        mined.about = {
            "run": str(run),
            "checkpoint": checkpoint,
            "part": part,
            "query": asks,
            "target": asked,
            "field": model.plan.fields[asked],
            "options": asdict(options),
        }
        if out is not None:
            mined.write(Path(out))
            sheet = draw_negatives(mined, table, Previews(evaluation.plan, evaluation.source))
            if sheet is not None:
                write_atomically(Path(out).with_suffix(".png"), lambda path: sheet.save(path, format="PNG"))
        return mined

    return evaluation.with_table(model, part, "embedding", mined_of)


def _measured(
    run: str | Path,
    overrides: Sequence[str],
    checkpoint: str,
    device: str,
    source: Any,
    extensions: Extensions | None,
) -> tuple[Model, RunEvaluation]:
    """Return a run's model, and what embeds the records of its source, or of another one."""
    model, plan, source = open_run(run, overrides, checkpoint, source, extensions, {}, join_ranks(device))
    return model, RunEvaluation(plan, source, Run.open(run))
