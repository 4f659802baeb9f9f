"""Compatibility: the rows of the matrix, and the view generators and encoders an objective can use on a column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from sensorium.contracts import TokenEncoder, ViewGenerator, has_target
from sensorium.matrix.dataset_columns import OBJECTIVES, DatasetColumn, ModalityCandidates, declared_options
from sensorium.models.makers import maker
from sensorium.recipe.parts import Part
from sensorium.registration.discovery import Extensions
from sensorium.registration.registry import Registry
from sensorium.types import Needs


@dataclass(frozen=True)
class ObjectiveRow:
    """One row of the matrix: an objective, a pretext task of an objective, or a variant of an objective.

    Args:
        objective: its registered name.
        needs: its requirements on views and encoders.
        task: the target of the pretext task, for an objective that takes any class target.
        variant: the name of the row, for options that are a row beside the objective's own.
    """

    objective: str
    needs: Needs
    task: str | None = None
    variant: str | None = None

    @property
    def name(self) -> str:
        """The name of the row in tables and commands."""
        return self.variant or (f"{self.objective}:{self.task}" if self.task else self.objective)

    @property
    def names(self) -> set[str]:
        """The names that select it: its own, and that of an objective with a row for each task."""
        return {self.name} if self.variant else {self.name, self.objective}

    def is_shown_for(self, modalities: int) -> bool:
        """Return whether it is in the table of columns with so many modalities: of one, or of several."""
        return self.needs.modalities == "any" or self.needs.is_crossmodal == (modalities > 1)

    def options(self, declared: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the declared options: the row's, or else the objective's, or else none."""
        options = declared.get(self.name, declared.get(self.objective, {}))
        return {name: value for name, value in options.items() if name != "name"}


@dataclass(frozen=True)
class TowerCandidate:
    """A modality with a compatible view generator and encoder."""

    modality: Part
    field: str
    views: Part
    encoder: Part

    def tower(self) -> dict[str, Any]:
        """Return the modality's section of a recipe."""
        parts = {name: getattr(self, name).model_dump() for name in ("modality", "views", "encoder")}
        return {"field": self.field, **parts}


class Incompatible(Exception):
    """An objective is not compatible with a column; `str(error)` is the reason."""


def objective_rows(extensions: Extensions, columns: Mapping[str, DatasetColumn]) -> list[ObjectiveRow]:
    """Return the rows: every objective, or each of its pretext tasks that views of a column have, and every variant."""
    registry = extensions.registry
    tasks = dict.fromkeys(
        generator.target
        for column in columns.values()
        for name, candidates in column.modalities.items()
        for _, generator in _generators(registry, name, candidates)
        if generator.target is not None and has_target(generator, "class")
    )
    rows, declared = [], declared_options(extensions)
    for spec in registry.specs("objectives"):
        needs = _needs(registry, spec.name, declared.get(spec.name, {}))
        rows += [ObjectiveRow(spec.name, needs, task) for task in (tasks if needs.target == "class" else [None])]
    for name, options in declared.items():
        if objective := options.get("name"):
            rows.append(ObjectiveRow(objective, _needs(registry, objective, options), variant=name))
    return sorted(rows, key=lambda row: row.variant or row.objective)


def _needs(registry: Registry, name: str, options: Mapping[str, Any]) -> Needs:
    """Return what an objective with declared options asks of a recipe."""
    part = Part.model_validate({**options, "name": name})
    return maker(registry, "objectives", part, f"sensorium_matrix {OBJECTIVES}{name}").cls.needs


def tower_candidates(
    row: ObjectiveRow, column: DatasetColumn, registry: Registry
) -> Iterator[dict[str, TowerCandidate]]:
    """Iterate over the compatible combinations of parts, one candidate for each modality, best first.

    Raises:
        Incompatible: when a modality of the column has no compatible view generator or encoder.
    """
    compatible = {name: _compatible(row, name, parts, registry) for name, parts in column.modalities.items()}
    for combination in product(*compatible.values()):
        yield dict(zip(compatible, combination, strict=True))


def _compatible(row: ObjectiveRow, name: str, parts: ModalityCandidates, registry: Registry) -> list[TowerCandidate]:
    needs, modality = row.needs, parts.modality or Part(name=name)
    where = "this modality" if not row.needs.is_crossmodal else f"'{name}'"
    if needs.teacher:
        raise Incompatible("It predicts the features of a frozen teacher, and no column has one.")
    if needs.descriptors and not registry.find("modalities", modality.name).load().has_descriptors():
        raise Incompatible(f"The modality of {where} has no descriptors.")
    generators = [(part, g) for part, g in _generators(registry, name, parts) if _has_views(g, needs)]
    if not needs.target:
        generators = [(part, g) for part, g in generators if g.target is None]
    else:
        target = row.task or needs.target
        generators = [(part, g) for part, g in generators if g.target == target]
        if not generators:
            raise Incompatible(f"No view generator of {where} has the target '{target}'.")
    if not generators:
        count = f"{needs.views}{' or more' * needs.multicrop} view{'s' * (needs.views > 1)}"
        raise Incompatible(f"No view generator of {where} returns {count} of each record.")
    if needs.multicrop:  # objectives with multi-crop prefer local views
        generators.sort(key=lambda pair: -pair[1].views)
    if needs.info:
        generators.sort(key=lambda pair: needs.info not in pair[1].info)
    encoders = [(part, registry.find("encoders", part.name, modality.name).load()) for part in parts.encoders]
    compatible = [
        TowerCandidate(modality, parts.field or name, views, part)
        for views, generator in generators
        for part, encoder in encoders
        if issubclass(encoder, TokenEncoder) or not (needs.tokens or (needs.target and generator.per_token))
    ]
    if not compatible:
        raise Incompatible(f"No encoder of {where} is a token encoder.")
    return compatible


def _has_views(generator: ViewGenerator, needs: Needs) -> bool:
    return generator.views == needs.views or (needs.multicrop and generator.views > needs.views)


def _generators(registry: Registry, name: str, candidates: ModalityCandidates) -> Iterator[tuple[Part, ViewGenerator]]:
    """Iterate over the view generators of a modality, built with their options."""
    part, where = candidates.modality or Part(name=name), f"columns.{name}"
    modality = maker(registry, "modalities", part, f"{where}.modality")()
    for views in candidates.views:
        yield views, maker(registry, "views", views, f"{where}.views", part.name, modality)()
