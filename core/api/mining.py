"""Mining hard negatives with a run's model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from sensorium.api.run_records import open_records
from sensorium.embeddings.file import EmbeddingFile
from sensorium.embeddings.of_run import require_same, with_positions
from sensorium.errors import RunError
from sensorium.evaluation.contact_sheet import require_own_sheet, write_sheet
from sensorium.evaluation.labels import modality_pair
from sensorium.evaluation.previews import Previews
from sensorium.feature_table import FeatureTable
from sensorium.mining.hard_negatives import mine_negatives
from sensorium.mining.options import MiningOptions
from sensorium.mining.result import MiningResult, draw_negatives
from sensorium.neighbors.search import IndexOptions
from sensorium.parallel.rank_zero import on_rank_zero
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions
from sensorium.runs.atomic import require_apart


@naming_plugins
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
    index: Literal["auto", "exact", "ivf", "hnsw"] = "auto",
    nprobe: int | None = None,
    ef_search: int | None = None,
    vectors: str | Path | None = None,
    checkpoint: str = "final",
    device: str = "auto",
    source: Any = None,
    extensions: Extensions | None = None,
    **handed_in: Any,
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
        index: "exact"; "ivf" or "hnsw" of FAISS, approximate, with the recall logged; "auto" is exact for up to 200,000
            records, or where that takes minutes, otherwise "ivf".
        nprobe: lists that "ivf" probes for a query; None tunes it to a recall of .95 up to the last of the ranks, on
            1,000 queries.
        ef_search: candidates that "hnsw" keeps for a query; None tunes it likewise.
        vectors: a file that `embed` wrote of these records, read in place of embedding them; duplicates are then found
            by their embeddings alone.
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that `data.source` names: a `Source`, or anything that `fit` takes.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Raises:
        SensoriumError: when nothing can be mined, in one sentence.
    """
    if out is not None and Path(out).suffix != ".parquet":
        named = Path(out).with_suffix(".parquet")
        raise RunError(f"Mined negatives are a Parquet file, which data.negatives reads: write {named}, not '{out}'.")
    if out is not None:
        require_own_sheet(Path(out).with_suffix(".png"))
    model, evaluation = open_records(run, overrides, checkpoint, device, source, extensions, handed_in)
    if out is not None:
        require_apart(
            out,
            vectors,
            evaluation.plan.recipe.data.negatives,
            evaluation.plan.source_options,
            endings=evaluation.source.extensions,
        )
    options = MiningOptions(count, tuple(ranks), margin, choose, model.plan.recipe.seed)
    searched = IndexOptions(index, nprobe, ef_search, model.plan.recipe.seed)

    def mined_of(table: FeatureTable) -> MiningResult:
        asks, asked = query, target
        if asks is None and asked is None and len(model.modalities) == 1:
            asks = asked = model.modalities[0]
        if asks is None or asks != asked:
            asks, asked = modality_pair(table, asks, asked)
        values = evaluation.values(table.positions, {asks, asked}) if vectors is None else None
        mined = mine_negatives(table, asks, asked, options, values, searched, model.device)
        mined.about |= {
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
                write_sheet(sheet, Path(out).with_suffix(".png"))
        return mined

    if vectors is None:
        return evaluation.with_table(model, part, "embedding", mined_of)
    file = EmbeddingFile(vectors)
    require_same(file, model, "embedding")
    return on_rank_zero(lambda: mined_of(with_positions(file.table(part=part, labels=()), evaluation.source)))
