"""Zero-shot classification."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from sensorium.contracts import Evaluator
from sensorium.errors import SensoriumError
from sensorium.evaluation.labels import Labeled, count_records, labeled
from sensorium.feature_table import FeatureTable
from sensorium.neighbors.similarity import TIE, l2_normalize, similarity_blocks


class ZeroShot(Evaluator):
    """Zero-shot classification by prompts of another modality, as in CLIP (Radford et al. 2021).

    A class embedding is the normalized mean of its normalized prompt embeddings; every template is filled with every
    name of the class. Classes are those of the train part and of the option `classes`, never of the test part; a
    test record of any other class counts as an error. Ties count against the record.

    Args:
        query: modality to classify; None takes the first of the recipe.
        prompts: modality of the prompts; None takes the first other one.
        label: label column with the class; None takes the only one.
        templates: prompt templates, each with `{}` in place of the class name.
        classes: label, as a string, -> class name or list of names; None takes the labels as names.
    """

    space = "embedding"

    def __init__(
        self,
        query: str | None = None,
        prompts: str | None = None,
        label: str | None = None,
        templates: tuple[str, ...] = ("{}",),
        classes: dict[str, str | list[str]] | None = None,
    ) -> None:
        if bad := [template for template in templates if "{}" not in template] or not templates:
            raise SensoriumError(
                f"A template of 'zero-shot' needs {{}} in place of the class name: {bad or 'none given'}."
            )
        self.query, self.prompts, self.label = query, prompts, label
        self.templates = templates
        self.names = classes or {}
        self.embed: Callable[..., Mapping[str, Tensor]] | None = None
        self.excluded = 0
        self.predicted: dict[str, np.ndarray] = {}

    def prepare(self, embed: Callable[..., Mapping[str, Tensor]]) -> None:
        """Store the function that embeds prompts; the classes are known in `fit`."""
        self.embed = embed

    def fit(self, train: FeatureTable) -> None:
        """Embed the prompts of every class."""
        if self.embed is None:
            raise SensoriumError("The evaluator 'zero-shot' needs a model that embeds prompts.")
        known = list(train.features)
        self.query_modality = self.query or known[0]
        self.prompt_modality = self.prompts or next((name for name in known if name != self.query_modality), None)
        if self.prompt_modality is None:
            raise SensoriumError("The evaluator 'zero-shot' needs a second modality for prompts, the records have one.")
        seen = labeled(train, self.label, self.query_modality).values if len(train) else []
        self.classes = sorted({*map(str, seen), *self.names})
        if len(self.classes) < 2:
            raise SensoriumError(
                f"The evaluator 'zero-shot' needs two classes or more, there is {len(self.classes)}: "
                "name them by the option 'classes'."
            )
        texts: list[str] = []
        class_ids: list[int] = []
        for number, value in enumerate(self.classes):
            names = self.names.get(value, value)
            for name in [names] if isinstance(names, str) else names:
                texts += [template.replace("{}", name) for template in self.templates]
                class_ids += [number] * len(self.templates)
        embedded = self.embed(**{self.prompt_modality: texts})[self.prompt_modality].detach()
        prompts_PD = l2_normalize(embedded, self.device)
        sums_CD = prompts_PD.new_zeros(len(self.classes), prompts_PD.shape[1])
        sums_CD = sums_CD.index_add(0, torch.tensor(class_ids).to(sums_CD.device), prompts_PD)
        self.classes_CD = l2_normalize(sums_CD, self.device)

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return top-1 and, with more than five classes, top-5 accuracy."""
        part, y_N = self._read(test)
        known = torch.from_numpy(y_N).to(self.classes_CD.device)
        ranks, best = [], []
        for block, s_BC in similarity_blocks(l2_normalize(part.x_ND, self.device), self.classes_CD):
            class_B1 = known[block].clamp_min(0)[:, None]
            rank_B = (s_BC >= s_BC.gather(1, class_B1) - TIE).sum(1)  # counts the correct class too
            ranks.append(torch.where(known[block] < 0, len(self.classes) + 1, rank_B))
            best.append(s_BC.argmax(1))
        self.predicted = {
            "id": np.array(test.ids, object)[part.rows_N],
            "label": np.array([str(value) for value in part.values], object),
            "prediction": np.array(self.classes, object)[torch.cat(best).cpu().numpy()],
            "rank": torch.cat(ranks).cpu().numpy(),
        }
        return self.metrics_of(self.predicted)

    def metrics_of(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return the same metrics of any predictions."""
        return {f"top-{k} accuracy": float(np.mean(predictions["rank"] <= k)) for k in self._cutoffs()}

    def predictions(self) -> Mapping[str, np.ndarray]:
        """Return the most similar class of each record of the last measurement, and the rank of its own."""
        return self.predicted

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the accuracy of a uniformly random class: without training labels there is no majority class."""
        _, y_N = self._read(test)
        known = float(np.mean(y_N >= 0))
        return {f"top-{k} accuracy": known * k / len(self.classes) for k in self._cutoffs()}

    def notes(self) -> list[str]:
        """Return the size of the prompt ensemble and how many records were excluded."""
        notes = [f"{len(self.classes)} classes, {len(self.templates)} templates"]
        return notes + ([f"{count_records(self.excluded)} without label or value excluded"] if self.excluded else [])

    def _cutoffs(self) -> list[int]:
        return [1, 5] if len(self.classes) > 5 else [1]

    def _read(self, test: FeatureTable) -> tuple[Labeled, np.ndarray]:
        part = labeled(test, self.label, self.query_modality)
        self.excluded = part.excluded
        if part.x_ND.shape[1] != self.classes_CD.shape[1]:
            raise SensoriumError(
                f"'{self.query_modality}' (width {part.x_ND.shape[1]}) and '{self.prompt_modality}' "
                f"(width {self.classes_CD.shape[1]}) have no joint embedding space: train them together by a "
                "cross-modal objective."
            )
        numbers = {value: number for number, value in enumerate(self.classes)}
        return part, np.array([numbers.get(str(value), -1) for value in part.values])
