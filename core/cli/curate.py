"""`sensorium curate duplicates`, `outliers`, `clusters` and `coverage`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.cli.choices import Index, Part
from sensorium.cli.device import Device
from sensorium.cli.json_output import print_json

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Find near-duplicates and leaks, outliers, clusters, or records that cover all, by an encoder or without one.",
)

Target = Annotated[
    str, typer.Argument(help="A run folder, a file of `embed`, or a recipe, a source, the path of a folder or table.")
]
Out = Annotated[
    Path, typer.Argument(help="The .parquet file to write, for data.select; contact sheets are written beside it.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Changes: data.source.KEY=VALUE, modalities.FIELD.modality=NAME, ...")
]
Modality = Annotated[str | None, typer.Option(help="The modality that is compared. Default: the first.")]
OfPart = Annotated[Part, typer.Option(help="The part of the split.")]
Vectors = Annotated[
    Path | None, typer.Option(help="A file that `embed` wrote of the run's records, to read in place of encoding them.")
]
Seed = Annotated[int, typer.Option(help="Of every random draw.")]
Checkpoint = Annotated[str, typer.Option(help="The checkpoint: final, best, last, or a step number.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Searched = Annotated[
    Index, typer.Option(help="exact; ivf or hnsw of FAISS; auto: exact up to 200,000 records, then ivf.")
]


class Space(StrEnum):
    """A space of a run's encoder."""

    features = "features"
    embedding = "embedding"


InSpace = Annotated[
    Space | None,
    typer.Option(
        help="Of a run: features of the encoder, or embedding, the space of the objective. "
        "Default: that of the vectors, or else features; with prompts embedding."
    ),
]


class Prefer(StrEnum):
    """The part whose record of several near-duplicates is kept."""

    test = "test"
    train = "train"


class OutlierMethod(StrEnum):
    """How outliers are told."""

    knn = "knn"
    lof = "lof"
    isolation_forest = "isolation-forest"


class ClusterMethod(StrEnum):
    """How clusters are found."""

    kmeans = "kmeans"
    hdbscan = "hdbscan"


class CoverageMethod(StrEnum):
    """How records that cover all are chosen."""

    k_center = "k-center"
    balanced = "balanced"


@app.command()
def duplicates(
    target: Target,
    out: Out,
    overrides: Overrides = None,
    threshold: Annotated[
        float, typer.Option(help="Least cosine of near-duplicates; .similarities.png shows pairs to choose it by.")
    ] = 0.9,
    prefer: Annotated[
        Prefer, typer.Option(help="Keep the record of test, then val, train; or of train, then val, test.")
    ] = Prefer.test,
    modality: Modality = None,
    part: OfPart = Part.all,
    space: InSpace = None,
    index: Searched = Index.auto,
    vectors: Vectors = None,
    seed: Seed = 0,
    checkpoint: Checkpoint = "final",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Find near-duplicates within and across the parts of the split, and what leaks from val and test into train."""
    _curate(
        "duplicates",
        target,
        out,
        overrides,
        as_json,
        threshold=threshold,
        prefer=prefer.value,
        modality=modality,
        part=part.value,
        space=space,
        index=index.value,
        vectors=vectors,
        seed=seed,
        checkpoint=checkpoint,
        device=device,
    )


@app.command()
def outliers(
    target: Target,
    out: Out,
    overrides: Overrides = None,
    method: Annotated[
        OutlierMethod,
        typer.Option(help="knn: mean distance to the k nearest; lof: local outlier factor; isolation-forest."),
    ] = OutlierMethod.knn,
    share: Annotated[float, typer.Option(help="Fraction of the records that are flagged.")] = 0.01,
    k: Annotated[int, typer.Option("--k", help="Neighbors of knn and lof.", min=1)] = 10,
    modality: Modality = None,
    part: OfPart = Part.all,
    space: InSpace = None,
    index: Searched = Index.auto,
    vectors: Vectors = None,
    seed: Seed = 0,
    checkpoint: Checkpoint = "final",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Score how strange each record is, and flag the strangest."""
    _curate(
        "outliers",
        target,
        out,
        overrides,
        as_json,
        method=method.value,
        share=share,
        k=k,
        modality=modality,
        part=part.value,
        space=space,
        index=index.value,
        vectors=vectors,
        seed=seed,
        checkpoint=checkpoint,
        device=device,
    )


@app.command()
def clusters(
    target: Target,
    out: Out,
    overrides: Overrides = None,
    method: Annotated[ClusterMethod, typer.Option(help="kmeans, or hdbscan.")] = ClusterMethod.kmeans,
    count: Annotated[
        int | None, typer.Option(help="Clusters of kmeans. Default: sqrt(records / 2), at most 1,000.", min=2)
    ] = None,
    least: Annotated[int, typer.Option(help="Records of a cluster of hdbscan, at least.", min=2)] = 10,
    label: Annotated[
        str | None, typer.Option(help="The label that names clusters, by its commonest value. Default: the only one.")
    ] = None,
    prompts: Annotated[
        str | None, typer.Option(help="Texts that name clusters, with commas between, or a file with one on each line.")
    ] = None,
    prompt_modality: Annotated[
        str | None, typer.Option(help="The modality of the prompts. Default: the first other one.")
    ] = None,
    modality: Modality = None,
    part: OfPart = Part.all,
    space: InSpace = None,
    vectors: Vectors = None,
    seed: Seed = 0,
    checkpoint: Checkpoint = "final",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Find clusters, and name them by a label or by prompts."""
    _curate(
        "clusters",
        target,
        out,
        overrides,
        as_json,
        method=method.value,
        count=count,
        least=least,
        label=label,
        prompts=prompts or (),
        prompt_modality=prompt_modality,
        modality=modality,
        part=part.value,
        space=space,
        vectors=vectors,
        seed=seed,
        checkpoint=checkpoint,
        device=device,
    )


@app.command()
def coverage(
    target: Target,
    out: Out,
    overrides: Overrides = None,
    *,
    count: Annotated[int, typer.Option(help="How many records are chosen.", min=1)],
    method: Annotated[
        CoverageMethod,
        typer.Option(help="k-center: each time the farthest record; balanced: equally from clusters of clusters."),
    ] = CoverageMethod.k_center,
    label: Annotated[
        str | None, typer.Option(help="The label whose values are counted among the chosen. Default: the only one.")
    ] = None,
    modality: Modality = None,
    part: OfPart = Part.train,
    space: InSpace = None,
    vectors: Vectors = None,
    seed: Seed = 0,
    checkpoint: Checkpoint = "final",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Choose records that cover all records of a part: to label first, or to train on."""
    _curate(
        "coverage",
        target,
        out,
        overrides,
        as_json,
        count=count,
        method=method.value,
        label=label,
        modality=modality,
        part=part.value,
        space=space,
        vectors=vectors,
        seed=seed,
        checkpoint=checkpoint,
        device=device,
    )


def _curate(name: str, target: str, out: Path, overrides: list[str] | None, as_json: bool, **options: Any) -> None:
    """Call the function of the Python API, and print what it found."""
    import sensorium
    from sensorium.cli.output import show_log
    from sensorium.training.fabric import launching_rank

    show_log()
    function: Callable[..., sensorium.curate.Curation] = getattr(sensorium.curate, name)
    found = function(target, out, overrides or [], **options)
    if launching_rank() != 0:  # the first prints for all
        return
    if as_json:
        print_json(found.public())
    else:
        *before, last = map(str, found.files)
        typer.echo(f"{found}\n\n{', '.join(before)}{' and ' if before else ''}{last} written.")
