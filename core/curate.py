"""Curation of records by what they are like: what to leave out, what there is, and which of them cover all.

```python
import sensorium

found = sensorium.curate.duplicates("photos", "duplicates.parquet")  # a folder, by pixels: before any training
found = sensorium.curate.duplicates("runs/simclr", "duplicates.parquet")  # by an encoder
print(found)
sensorium.fit("simclr", ["data.select=duplicates.parquet"])  # without them
```

Each function takes a run folder, a file that `embed` wrote, or whatever `check` takes (a recipe, a source, the path of
a folder or table), whose records are compared by the baseline features of their modality. It returns one row for each
record; a file of these rows is what a recipe takes as `data.select`. Records that are not compared (of another part,
without the modality, unreadable) are kept. Of several values of a record the first counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from sensorium.api.curating import Curated
from sensorium.curation.cluster_report import cluster_report, draw_clusters
from sensorium.curation.clusters import (
    ClusterNames,
    ClusterOptions,
    Clusters,
    find_clusters,
    names_by_label,
    names_by_prompts,
)
from sensorium.curation.coverage import CoverageOptions, cover
from sensorium.curation.coverage_report import coverage_report, draw_coverage
from sensorium.curation.duplicate_report import draw_duplicates, draw_similarities, duplicate_report
from sensorium.curation.near_duplicates import DuplicateOptions, find_near_duplicates
from sensorium.curation.outliers import OutlierOptions, draw_outliers, find_outliers, outlier_report
from sensorium.curation.records import ComparedRecords
from sensorium.curation.result import Curation
from sensorium.errors import RunError, not_found
from sensorium.evaluation.contact_sheet import require_own_sheet, write_sheet
from sensorium.models.model import Model
from sensorium.neighbors.search import IndexOptions
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions

__all__ = ["Curation", "clusters", "coverage", "duplicates", "outliers"]

Draw = Callable[[], Image.Image | None]


@naming_plugins
def duplicates(
    target: Any,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    threshold: float = 0.9,
    prefer: Literal["test", "train"] = "test",
    modality: str | None = None,
    part: str = "all",
    space: Literal["features", "embedding"] | None = None,
    index: Literal["auto", "exact", "ivf", "hnsw"] = "auto",
    vectors: str | Path | None = None,
    seed: int = 0,
    checkpoint: str = "final",
    device: str = "auto",
    source: Any = None,
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> Curation:
    """Find near-duplicates within and across the parts of the split, and what leaks from val and test into train.

    Two records are near-duplicates when the cosine of their partly whitened vectors is the threshold or more; records
    that such pairs connect are a group, of which one is kept. Pairs within a group of the source (`Record.group`) are
    none.

    Args:
        target: what is curated: see above; None for the records of `source`.
        out: the .parquet file to write. Columns: `id`, `split`, `duplicates` (the number of the group, null for none),
            `nearest` and `cosine` (the most alike record of .8 or more), `leak`, `keep`. Beside it contact sheets:
            .png of groups, .similarities.png of pairs by cosine, to choose a threshold by. None writes nothing.
        overrides: `key.sub=value` texts, such as `data.source.path=...`.
        threshold: least cosine of near-duplicates, in (0, 1]. At the default most copies with noise, another gain or
            compression are found, and few strangers; the sheet of pairs by cosine shows what it does to your records.
        prefer: whose record is kept: "test", then val and train, so that leaks fall out of the train part; or "train",
            then val and test.
        modality: the modality that is compared; None takes the first.
        part: "train", "val", "test" or "all".
        space: "features" of a run's encoder, or "embedding", the space that its objective compares in; None takes that
            of the vectors, or else features.
        index: how neighbors are searched: "exact", or "ivf" or "hnsw" of FAISS; "auto" is exact for up to 200,000
            records, or where that takes minutes, otherwise "ivf".
        vectors: a file that `embed` wrote of the run's records, read in place of encoding them.
        seed: of an approximate index.
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that the target names, as `fit` takes them.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Raises:
        SensoriumError: when the records cannot be read or compared.
    """
    options = DuplicateOptions(threshold, prefer)
    _require_place(out, ".png", ".similarities.png")

    def use(records: ComparedRecords, _: Model | None) -> Curation:
        found = find_near_duplicates(records, options, IndexOptions(index, seed=seed))
        sheets: dict[str, Draw] = {
            ".png": lambda: draw_duplicates(records, found),
            ".similarities.png": lambda: draw_similarities(records, found.pairs, threshold),
        }
        return _written(duplicate_report(records, found, options), out, sheets)

    curated = Curated(
        target, out, overrides, modality, part, space, vectors, checkpoint, device, source, extensions, handed_in
    )
    return curated.with_records(use)


@naming_plugins
def outliers(
    target: Any,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    method: Literal["knn", "lof", "isolation-forest"] = "knn",
    share: float = 0.01,
    k: int = 10,
    modality: str | None = None,
    part: str = "all",
    space: Literal["features", "embedding"] | None = None,
    index: Literal["auto", "exact", "ivf", "hnsw"] = "auto",
    vectors: str | Path | None = None,
    seed: int = 0,
    checkpoint: str = "final",
    device: str = "auto",
    source: Any = None,
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> Curation:
    """Score how strange each record is, and flag the strangest.

    Args:
        target: what is curated: see above; None for the records of `source`.
        out: the .parquet file to write, and beside it a contact sheet, .png, of outliers with their nearest records.
            Columns: `id`, `split`, `score`, `rank` (1 is the strangest), `outlier`, `keep`. None writes nothing.
        overrides: `key.sub=value` texts, such as `data.source.path=...`.
        method: "knn", the mean distance 1 - cosine to the k nearest others; "lof", the local outlier factor, for
            clusters of different densities; or "isolation-forest".
        share: fraction of the records that are flagged, in (0, 1).
        k: neighbors of "knn" and "lof", >= 1: more than a strange record has copies.
        modality: the modality that is compared; None takes the first.
        part: "train", "val", "test" or "all".
        space: "features" of a run's encoder, or "embedding", the space that its objective compares in; None takes that
            of the vectors, or else features.
        index: how neighbors are searched, as in `duplicates`.
        vectors: a file that `embed` wrote of the run's records, read in place of encoding them.
        seed: of "isolation-forest", and of an approximate index.
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that the target names, as `fit` takes them.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Raises:
        SensoriumError: when the records cannot be read or compared.
    """
    options = OutlierOptions(method, share, k, seed)
    _require_place(out, ".png")

    def use(records: ComparedRecords, _: Model | None) -> Curation:
        found = find_outliers(records, options, IndexOptions(index, seed=seed))
        return _written(outlier_report(records, found, options), out, {".png": lambda: draw_outliers(records, found)})

    curated = Curated(
        target, out, overrides, modality, part, space, vectors, checkpoint, device, source, extensions, handed_in
    )
    return curated.with_records(use)


@naming_plugins
def clusters(
    target: Any,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    method: Literal["kmeans", "hdbscan"] = "kmeans",
    count: int | None = None,
    least: int = 10,
    label: str | None = None,
    prompts: Sequence[str] | str | Path = (),
    prompt_modality: str | None = None,
    modality: str | None = None,
    part: str = "all",
    space: Literal["features", "embedding"] | None = None,
    vectors: str | Path | None = None,
    seed: int = 0,
    checkpoint: str = "final",
    device: str = "auto",
    source: Any = None,
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> Curation:
    """Find clusters, and name them by a label or by prompts.

    Args:
        target: what is curated: see above; None for the records of `source`.
        out: the .parquet file to write, and beside it a contact sheet, .png, of the records nearest to the centres.
            Columns: `id`, `split`, `cluster` (0 is the largest, null for noise), `cosine` (with its centre), `name`,
            `keep` (all are). None writes nothing.
        overrides: `key.sub=value` texts, such as `data.source.path=...`.
        method: "kmeans" of scikit-learn, of many records in mini-batches; or "hdbscan", which finds the number of
            clusters and leaves records outside any as noise. Of more than 20,000 records it clusters a sample; the
            others join their nearest record's.
        count: of clusters of "kmeans"; None for sqrt(records / 2), at most 1,000.
        least: records of a cluster of "hdbscan", at least.
        label: a label column that names clusters, by the commonest value and its purity; None takes the only one.
        prompts: two texts or more that name clusters, by the one nearest to the centre: of a run that embeds them in
            the same space; they stand before a label. One string holds them with commas between, or is the path of a
            file with one on each line.
        prompt_modality: the modality of the prompts; None takes the first other one.
        modality: the modality that is compared; None takes the first.
        part: "train", "val", "test" or "all".
        space: "features" of a run's encoder, or "embedding", the space that its objective compares in; None is
            "embedding" with prompts, and without as in `duplicates`.
        vectors: a file that `embed` wrote of the run's records, read in place of encoding them.
        seed: of "kmeans", and of the sample of "hdbscan".
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that the target names, as `fit` takes them.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Raises:
        SensoriumError: when the records cannot be read or compared, or nothing embeds the prompts.
    """
    options = ClusterOptions(method, count, least, seed)
    _require_place(out, ".png")
    asked = _texts(str(prompts)) if isinstance(prompts, str | Path) else tuple(prompts)
    if asked and space == "features":
        raise RunError("Prompts are compared in the space 'embedding', not in 'features'.")

    def use(records: ComparedRecords, model: Model | None) -> Curation:
        named = _label(records, label)
        found = find_clusters(records, options)
        if asked:
            names: ClusterNames | None = _by_prompts(found, asked, records, model, prompt_modality)
        else:
            names = None if named is None else names_by_label(found, named, records.label(named))
        return _written(
            cluster_report(records, found, options, names),
            out,
            {".png": lambda: draw_clusters(records, found, names)},
        )

    curated = Curated(
        target,
        out,
        overrides,
        modality,
        part,
        "embedding" if asked else space,
        vectors,
        checkpoint,
        device,
        source,
        extensions,
        handed_in,
    )
    return curated.with_records(use)


@naming_plugins
def coverage(
    target: Any,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    count: int,
    method: Literal["k-center", "balanced"] = "k-center",
    label: str | None = None,
    modality: str | None = None,
    part: str = "train",
    space: Literal["features", "embedding"] | None = None,
    vectors: str | Path | None = None,
    seed: int = 0,
    checkpoint: str = "final",
    device: str = "auto",
    source: Any = None,
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> Curation:
    """Choose records that cover all records of a part: to label first, or to train on.

    Args:
        target: what is curated: see above; None for the records of `source`.
        out: the .parquet file to write, and beside it a contact sheet, .png, of chosen records with those that they
            cover. Columns: `id`, `split`, `order` (in which they were chosen, from 1), `covered_by` (the nearest chosen
            record), `distance` (1 - cosine), `keep` (chosen, or of another part). None writes nothing.
        overrides: `key.sub=value` texts, such as `data.source.path=...`.
        count: how many records are chosen.
        method: "k-center", each time the record farthest from all chosen ones; or "balanced", equally from clusters of
            clusters (hierarchical k-means, Vo et al. 2024, arXiv:2405.15613).
        label: a label column of which is told how many records of each value are chosen; None takes the only one.
        modality: the modality that is compared; None takes the first.
        part: "train", "val", "test" or "all".
        space: "features" of a run's encoder, or "embedding", the space that its objective compares in; None takes that
            of the vectors, or else features.
        vectors: a file that `embed` wrote of the run's records, read in place of encoding them.
        seed: of the first record, of k-means and of draws within clusters.
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that the target names, as `fit` takes them.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Raises:
        SensoriumError: when the records cannot be read or compared, or are fewer.
    """
    options = CoverageOptions(count, method, seed)
    _require_place(out, ".png")

    def use(records: ComparedRecords, _: Model | None) -> Curation:
        found = cover(records, options)
        made = coverage_report(records, found, options, _label(records, label))
        return _written(made, out, {".png": lambda: draw_coverage(records, found)})

    curated = Curated(
        target, out, overrides, modality, part, space, vectors, checkpoint, device, source, extensions, handed_in
    )
    return curated.with_records(use)


def _require_place(out: str | Path | None, *sheets: str) -> None:
    """Raise an error where rows and contact sheets cannot be written, before anything is read."""
    if out is None:
        return
    if Path(out).suffix.lower() != ".parquet":
        named = Path(out).with_suffix(".parquet")
        raise RunError(f"What curation finds is a Parquet file, which data.select reads: write {named}, not '{out}'.")
    for suffix in sheets:
        require_own_sheet(Path(out).with_suffix(suffix))


def _written(made: Curation, out: str | Path | None, sheets: dict[str, Draw]) -> Curation:
    """Write rows and contact sheets; where nothing draws the records there are none."""
    if out is None:
        return made
    made.write(out)
    files = [Path(out)]
    for suffix, draw in sheets.items():
        path = Path(out).with_suffix(suffix)
        if (sheet := draw()) is not None:
            files.append(path)
            write_sheet(sheet, path)
        else:
            path.unlink(missing_ok=True)  # of a curation before
    return replace(made, files=tuple(files))


def _texts(prompts: str) -> tuple[str, ...]:
    """Return the prompts that stand in a string with commas between, or on the lines of the file that it names."""
    path = Path(prompts).expanduser()
    is_file = os.path.isfile(path)  # False, too, for prompts that are too long for a name
    if not is_file and "," not in prompts and path.suffix:
        raise RunError(f"There is no file of prompts '{prompts}'; prompts themselves stand with commas between.")
    found = path.read_text(encoding="utf-8-sig").splitlines() if is_file else prompts.split(",")
    return tuple(text.strip() for text in found if text.strip())


def _label(records: ComparedRecords, asked: str | None) -> str | None:
    """Return the label column that is asked for, or the only one, if there is one."""
    known = list(records.columns.labels)
    if asked is not None and asked not in known:
        raise RunError(
            not_found(f"The records have no label '{asked}'", asked, known, f"they have: {', '.join(known)}")
        )
    return asked if asked is not None else known[0] if len(known) == 1 else None


def _by_prompts(
    found: Clusters, prompts: Sequence[str], records: ComparedRecords, model: Model | None, modality: str | None
) -> ClusterNames:
    """Return names of clusters by prompts, which the run's model embeds.

    Raises:
        RunError: when there is no model, or no other modality.
    """
    if model is None:
        raise RunError("Prompts are embedded by the model of a run: name its run folder, with --vectors for the file.")
    others = [name for name in model.modalities if name != records.modality]
    reading = [name for name in others if not model.plan.modalities[name].reads_files]
    name = modality or next(iter([*reading, *others]), None)
    if name is None or name not in others:
        problem = f"Prompts need a second modality of the run, '{modality or 'text'}' is none"
        raise RunError(not_found(problem, str(name), others, f"there are: {', '.join(others) or 'none'}"))
    return names_by_prompts(found, records.mean_D, prompts, model.embed(**{name: list(prompts)})[name].numpy())
