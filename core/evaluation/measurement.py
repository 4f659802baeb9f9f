"""Measures a run: its records embedded by every row of a table, its evaluators run over them, its sheets drawn."""

from __future__ import annotations

import pickle
from collections.abc import Hashable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sensorium.contracts import FeatureTable, Source
from sensorium.data.decoding import RecordDecoder
from sensorium.data.loader import iterate
from sensorium.data.splits import assign_parts
from sensorium.data.unreadable import UnreadableRecords
from sensorium.errors import DataError
from sensorium.evaluation.contact_sheet import Found, contact_sheet
from sensorium.evaluation.features import baseline_table, feature_table, score_table
from sensorium.evaluation.runner import Subject, compare, spaces
from sensorium.evaluation.similarity import unit_rows
from sensorium.evaluation.tables import Table
from sensorium.models.model import Model
from sensorium.models.plan import Plan
from sensorium.runs.atomic import write_atomically
from sensorium.runs.run import Run
from sensorium.seeding import uniform_of
from sensorium.types import Batch, RecordBatch

QUERIES, SHOWN = 8, 6
"""Rows and columns of a contact sheet."""


class Measurement:
    """Measures models on the records of one run.

    Args:
        plan: the parts of the run's recipe; its modalities may be fitted later, before the first measurement.
        source: where the records come from.
        run: where tables and sheets are written.
    """

    def __init__(self, plan: Plan, source: Source, run: Run) -> None:
        self.plan, self.source, self.run = plan, source, run
        data = plan.recipe.data
        self.parts = assign_parts(source, {"val": data.val, "test": data.test}, data.split_seed)
        self._kept: dict[str, list[RecordBatch]] = {}

    def require_parts(self, val: bool = False) -> None:
        """Raise a DataError when there is something to measure and no test part, or no val part where one is asked for.

        A training asks before it begins, since it ends in a measurement.
        """
        if not self.plan.evaluators:
            return
        if val and not len(self.parts["val"]):
            raise DataError("There is no val part to evaluate on during training: set data.val above 0.")
        if not len(self.parts["test"]):
            raise DataError(
                "There is no test part to evaluate on: data.test is 0, or so small a share of few groups that it got "
                "none. Set data.test higher, or give the records a split of their own; to train without figures, set "
                "evaluate.evaluators={}."
            )

    def on_val(self, model: Model) -> dict[str, float]:
        """Return the figures of a model on the val part, learned from (a sample of) the train part.

        The test part is not looked at.
        """
        tables = compare(self.plan.evaluators, {"trained": [self._subject(model, "probe", "val")]})
        return {
            f"{name}/{metric}": value.mean
            for name, table in tables.items()
            for metric, value in table.row("trained").metrics.items()
        }

    def on_test(self, *models: Model) -> dict[str, Table]:
        """Measure models, one for each seed, on the test part, beside chance, baseline features and first weights.

        Writes the tables, and contact sheets of the first model if it has two modalities or more, into the run folder.
        """
        if not self.plan.evaluators:
            return {}
        self.require_parts()
        firsts = [Model(model.plan, model.plan.learner()).to(model.device) for model in models]
        trained = [self._subject(model, "train", "test") for model in models]
        rows = {"untrained": [self._subject(first, "train", "test") for first in firsts], "trained": trained}
        if (baseline_features := self._baseline()) is not None:
            rows = {"baseline": [baseline_features], **rows}
        tables = compare(self.plan.evaluators, rows)
        for table in tables.values():
            table.write(self.run.folder)
        if "embedding" in trained[0].parts and len(models[0].modalities) > 1:
            self._draw_sheets(trained[0].parts["embedding"][1])
        return tables

    def table(self, model: Model, part: str, space: str) -> FeatureTable:
        """Return the features of every record of a part.

        Args:
            model: what encodes them.
            part: "train", "val", "test", "all", or "probe" for a sample of train.
            space: "features", "embedding" or "scores".
        """
        if space == "scores":
            return score_table(self.batches(part), model.score, self.source.key)

        def embed(name: str, batch: Batch) -> Tensor:
            return model.encode(name, batch, space)

        return feature_table(self.batches(part), embed, self.source.key, model.modalities)

    def _subject(self, model: Model, train: str, test: str) -> Subject:
        asked = spaces(self.plan.evaluators)
        return Subject({s: (self.table(model, train, s), self.table(model, test, s)) for s in asked}, model.embed)

    def _baseline(self) -> Subject | None:
        if "features" not in spaces(self.plan.evaluators):
            return None
        tables = [baseline_table(self.batches(p), self.plan.modalities, self.source.key) for p in ("train", "test")]
        return None if None in tables else Subject({"features": (tables[0], tables[1])})  # type: ignore[dict-item]

    def values(self, positions: Sequence[int] | np.ndarray, modalities: Iterable[str]) -> dict[str, list[Hashable]]:
        """Return, for each modality, what tells the raw values of some records apart; None where one is absent."""
        records = [self.source[int(position)].values for position in positions]
        return {name: [_identity(values.get(self.plan.fields[name])) for values in records] for name in modalities}

    def positions(self, part: str) -> np.ndarray:
        """Return the source positions of a part."""
        if part == "all":
            return np.arange(len(self.source))
        if part == "probe":
            train, most = self.parts["train"], self.plan.recipe.evaluate.probe
            order = sorted(train.tolist(), key=lambda i: uniform_of("probe", self.source.key(i).id))
            return np.array(sorted(order[:most]), dtype=np.int64)
        return self.parts[part]

    def batches(self, part: str) -> Iterable[RecordBatch]:
        """Return an ordered pass over a part; where the recipe caches, it is decoded once."""
        if self.plan.recipe.data.cache == "off":
            return self._decode(part)
        if part not in self._kept:
            self._kept[part] = list(self._decode(part))
        return self._kept[part]

    def _decode(self, part: str) -> Iterator[RecordBatch]:
        recipe, positions = self.plan.recipe, self.positions(part)
        return iterate(
            self.source,
            positions,
            self.plan.fields,
            self.plan.modalities,
            batch=recipe.evaluate.batch,
            bad=UnreadableRecords(len(positions), recipe.data.max_bad, self.run.bad_file),
            workers=recipe.data.workers,
        )

    def _draw_sheets(self, test: FeatureTable) -> None:
        """Draw, for the first two modalities both ways, what a few records of the test part find."""
        a, b = list(test.features)[:2]
        assert test.positions is not None, "a measurement says where the source has its records"
        positions = test.positions.tolist()
        if not (self.plan.modalities[a].has_preview and self.plan.modalities[b].has_preview):
            return
        for query, target in ((a, b), (b, a)):
            asking = np.flatnonzero(test.present[query] & test.present[target])
            chosen = sorted(asking.tolist(), key=lambda row: uniform_of("sheet", test.ids[row]))[:QUERIES]
            found = np.flatnonzero(test.present[target])
            if not chosen or not len(found):
                continue
            cosines = unit_rows(test.features[query][chosen]) @ unit_rows(test.features[target][found]).T
            best = torch.topk(cosines, min(SHOWN, len(found)))
            results = [
                [
                    Found(
                        self.preview(positions[found[column]], target),
                        f"{score:.2f}",
                        test.groups[found[column]] == test.groups[row],
                    )
                    for score, column in zip(best.values[i].tolist(), best.indices[i].tolist(), strict=True)
                ]
                for i, row in enumerate(chosen)
            ]
            pictures = [self.preview(positions[row], query) for row in chosen]
            sheet = contact_sheet(pictures, results, f"{query} -> {target}, {len(found)} to choose from")
            path = self.run.evaluations / f"sheet-{query}-to-{target}.png"
            write_atomically(path, lambda part, sheet=sheet: sheet.save(part, format="PNG"))

    def preview(self, position: int, modality: str) -> Image.Image:
        """Draw a record's value of a modality that draws, by where the source has the record."""
        decoder = RecordDecoder(self.source, {modality: self.plan.fields[modality]}, self.plan.modalities)
        decoded = decoder[0, np.array([position])]
        assert decoded.records is not None, "it was decoded before"
        part = self.plan.modalities[modality]
        return part.preview(part.examples(decoded.records.batches[modality])[0])


def _identity(raw: Any) -> Hashable:
    """Return what equal raw values share: texts and paths are themselves, others are known by a hash."""
    return raw if raw is None or isinstance(raw, str) else blake2b(pickle.dumps(raw), digest_size=16).digest()
