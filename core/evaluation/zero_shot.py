"""Zero-shot classification."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from sensorium.contracts import Evaluator, FeatureTable
from sensorium.errors import SensoriumError
from sensorium.evaluation.labels import labeled, records
from sensorium.evaluation.similarity import TIE, similarities, unit_rows


class ZeroShot(Evaluator):
    """Classify one modality by prompts of another, without training on labels (Radford et al. 2021).

    A class is the mean of its prompts' normalized embeddings, normalized again; every template is filled with every
    name of the class. Classes are those of the train part and of the option `classes`, never of the test part; a
    test record of any other class counts as a miss. Ties count against the record.

    Args:
        query: modality that is classified; None takes the first of the recipe.
        prompts: modality that the prompts are written in; None takes the first other one.
        label: label column that holds the class; None takes the only one.
        templates: prompts, each with `{}` where the class name goes.
        classes: label, as a string, -> name or list of names that fill the templates; None takes labels for names.
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
            raise SensoriumError(f"A template of 'zero-shot' needs a {{}} for the class name: {bad or 'none given'}.")
        self.query, self.prompts, self.label = query, prompts, label
        self.templates = templates
        self.names = classes or {}
        self.embed: Callable[..., Mapping[str, Tensor]] | None = None
        self.left_out = 0

    def prepare(self, embed: Callable[..., Mapping[str, Tensor]]) -> None:
        """Keep the means to embed prompts; which classes there are is known to `fit`."""
        self.embed = embed

    def fit(self, train: FeatureTable) -> None:
        """Embed the prompts of every class."""
        if self.embed is None:
            raise SensoriumError("Zero-shot classification needs a model that can embed prompts.")
        known = list(train.features)
        self.asking = self.query or known[0]
        self.saying = self.prompts or next((name for name in known if name != self.asking), None)
        if self.saying is None:
            raise SensoriumError("Zero-shot classification writes prompts in a second modality, the records have one.")
        seen = labeled(train, self.label, self.asking).values if len(train) else []
        self.classes = sorted({*map(str, seen), *self.names})
        if len(self.classes) < 2:
            raise SensoriumError(
                f"Zero-shot classification needs two classes at least, it knows {len(self.classes)}: "
                "name them by the option 'classes'."
            )
        texts: list[str] = []
        owners: list[int] = []
        for number, value in enumerate(self.classes):
            names = self.names.get(value, value)
            for name in [names] if isinstance(names, str) else names:
                texts += [template.replace("{}", name) for template in self.templates]
                owners += [number] * len(self.templates)
        prompts_PD = unit_rows(self.embed(**{self.saying: texts})[self.saying].detach())
        sums_CD = prompts_PD.new_zeros(len(self.classes), prompts_PD.shape[1])
        self.classes_CD = unit_rows(sums_CD.index_add(0, torch.tensor(owners).to(sums_CD.device), prompts_PD))

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return top-1 and, with more than five classes, top-5 accuracy."""
        x_ND, y_N = self._read(test)
        known = torch.from_numpy(y_N).to(self.classes_CD.device)
        ranks = []
        for block, s_BC in similarities(unit_rows(x_ND), self.classes_CD):
            own_B1 = known[block].clamp_min(0)[:, None]
            rank_B = (s_BC >= s_BC.gather(1, own_B1) - TIE).sum(1)  # its own class is among those counted
            ranks.append(torch.where(known[block] < 0, len(self.classes) + 1, rank_B).cpu())
        rank_N = torch.cat(ranks).numpy()
        return {f"top-{k} accuracy": float(np.mean(rank_N <= k)) for k in self._cutoffs()}

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return what naming classes at random scores; no label says which is the commonest."""
        _, y_N = self._read(test)
        known = float(np.mean(y_N >= 0))
        return {f"top-{k} accuracy": known * k / len(self.classes) for k in self._cutoffs()}

    def notes(self) -> list[str]:
        """Return the size of the ensemble and how many records could not be measured."""
        notes = [f"{len(self.classes)} classes, {len(self.templates)} templates"]
        return notes + ([f"{records(self.left_out)} without label or value left out"] if self.left_out else [])

    def _cutoffs(self) -> list[int]:
        return [1, 5] if len(self.classes) > 5 else [1]

    def _read(self, test: FeatureTable) -> tuple[np.ndarray, np.ndarray]:
        part = labeled(test, self.label, self.asking)
        self.left_out = part.left_out
        if part.x_ND.shape[1] != self.classes_CD.shape[1]:
            raise SensoriumError(
                f"'{self.asking}' ({part.x_ND.shape[1]} wide) and '{self.saying}' ({self.classes_CD.shape[1]} wide) "
                "share no space in which to be compared: train them together by a cross-modal objective."
            )
        numbers = {value: number for number, value in enumerate(self.classes)}
        return part.x_ND, np.array([numbers.get(str(value), -1) for value in part.values])
