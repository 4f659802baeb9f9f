"""Checks of exporters, on a model of registered parts with its first weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import SkipTest

from sensorium.contracts import Modality
from sensorium.errors import SensoriumError
from sensorium.models.model import Model
from sensorium.models.plan import make_plan
from sensorium.recipe.schema import Recipe
from sensorium.registration.discovery import Extensions
from sensorium.testing.checked_part import CheckedPart, expect
from sensorium.testing.commands import check_that_it_acts

CANDIDATES = 2
"""Modalities of which models are offered to an exporter that refuses the ones before."""


def writes_what_its_lines_load(checked: CheckedPart) -> None:
    """It writes files into the folder, the same each time and verified, and returns the lines that load them."""
    exporter = checked.build()
    check_that_it_acts(type(exporter).export, "export")
    refusals: list[str] = []
    for model in _models(checked):
        with TemporaryDirectory() as one, TemporaryDirectory() as other:
            try:
                lines = exporter.export(model, Path(one))
            except SensoriumError as error:
                refusals.append(str(error))
                continue
            exporter.verify(model, Path(one))
            checked.build().export(model, Path(other))
            first, again = _files(Path(one)), _files(Path(other))
        expect(any(first.values()), "it writes no file, or empty ones alone")
        expect(first.keys() == again.keys(), f"it writes {sorted(first)}, then {sorted(again)} of the same model")
        expect(isinstance(lines, str) and bool(lines.strip()), "it returns no lines that load what was written")
        try:
            compile(lines, "the lines", "exec")
        except SyntaxError as error:
            expect(False, f"the lines that it returns are not Python: {error}")
        return
    raise SkipTest(f"no model of registered parts fits it: {refusals[-1] if refusals else 'none is built'}")


def _files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def _models(checked: CheckedPart) -> Iterator[Model]:
    """Iterate over models, for each modality with samples one that was trained whole, and one by adapters."""
    extensions, registry, made = Extensions([], checked.registry), checked.registry, 0
    for name in sorted(checked.samples):
        for objective in registry.specs("objectives"):
            model = _model(checked, name, objective.name, extensions)
            if model is not None:
                yield model
                if (adapted := _model(checked, name, objective.name, extensions, lora={})) is not None:
                    yield adapted.merge_adapters()
                made += 1
                break
        if made == CANDIDATES:
            return


def _model(checked: CheckedPart, name: str, objective: str, extensions: Extensions, **settings: Any) -> Model | None:
    """Return a model of the first views and encoder of a modality that fit an objective and settings, if any do."""
    registry = checked.registry
    for views in registry.names("views", name):
        for encoder in registry.names("encoders", name):
            given = checked.options_of(registry.find("encoders", encoder, name))
            tower = {"views": {"name": views}, "encoder": {"name": encoder, **given}, **settings}
            recipe = {
                "data": {"batch": 2},
                "modalities": {name: tower},
                "objective": {"name": objective, **checked.options_of(registry.find("objectives", objective))},
                "train": {"steps": 1},
            }
            try:
                plan = make_plan(Recipe.model_validate(recipe), extensions)
                modality: Modality = plan.modalities[name]
                if not modality.is_fitted:
                    modality.fit(checked.samples[name])
                return Model(plan, plan.learner())
            except SensoriumError:
                continue
    return None


CHECKS: tuple[Callable[[CheckedPart], None], ...] = (writes_what_its_lines_load,)
