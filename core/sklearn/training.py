"""Trainings on what an estimator was handed, in a temporary run folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
from sklearn.utils import check_random_state

from sensorium.api.models import open_run
from sensorium.api.training import fit
from sensorium.devices import find_device
from sensorium.errors import Interrupted, RecipeError, SensoriumError
from sensorium.evaluation.part_reader import PartReader
from sensorium.finetuning.few_labels import draws_labels
from sensorium.finetuning.finetuner import Finetuner
from sensorium.finetuning.labeled import FOLDS
from sensorium.models.plan import Plan, make_plan
from sensorium.recipe import Recipe, read_recipe
from sensorium.recipe.merging import said_by
from sensorium.registration.discovery import load_extensions
from sensorium.runs.run import Run
from sensorium.sklearn.records import has_value
from sensorium.training.fabric import fabric_of_one
from sensorium.training.precision import numeric_settings

LABEL = "label"
"""The name of the label column."""
IN_MEMORY = (
    "data.val=0",
    "data.test=0",
    "data.select=null",
    "data.split=random",
    "data.workers=0",
    "data.cache=ram",
    "evaluate.evaluators={}",
    "evaluate.every=null",
    "log.loggers={}",
)
"""What is different in a training whose records are handed in: all of them are learned from."""
REFUSED: dict[str, tuple[Any, str]] = {
    "data.test": (0, "all records are learned from, and scikit-learn holds others out"),
    "finetune.labels": (None, "y is what is learned"),
    "finetune.task": (None, "a classifier learns classes, weighed by its class_weight, and a regressor numbers"),
    "finetune.seeds": (1, "one model is trained, with random_state as its seed"),
}
"""Key of a recipe -> its only value in an estimator, and why an override of it would do nothing, or harm."""
WITHOUT_LABELS = {**REFUSED, "data.val": (0, "all records are learned from, and no epoch is chosen")}
"""The same, of an estimator that learns without labels."""
RecipeLike: TypeAlias = Recipe | Mapping[str, Any] | str | Path


@contextmanager
def as_value_errors() -> Iterator[None]:
    """Raise errors of a training as those that scikit-learn expects of an estimator.

    A training that was stopped is no failed fit, after which a cross-validation would go on.
    """
    try:
        yield
    except Interrupted as error:
        raise KeyboardInterrupt(str(error)) from error
    except SensoriumError as error:
        raise ValueError(str(error)) from error


@contextmanager
def passing_folder() -> Iterator[Path]:
    """Open a folder for trainings; their errors leave out the sentences that name files of it, which are deleted."""
    with TemporaryDirectory() as folder:
        try:
            yield Path(folder)
        except SensoriumError as error:
            kept = [sentence for sentence in re.split(r"(?<=\.) ", str(error)) if folder not in sentence]
            error.args = (" ".join(kept) or str(error), *error.args[1:])
            raise


def plan_of(
    recipe: RecipeLike,
    overrides: Sequence[str],
    run: str | Path | None,
    decided: Mapping[str, tuple[Any, str]] = REFUSED,
) -> Plan:
    """Return the plan of a recipe, or that of a run, for records that are handed in.

    Args:
        recipe: what is trained.
        overrides: `key.sub=value` texts.
        run: a run that is trained already, in place of the recipe.
        decided: keys that the estimator decides itself.

    Raises:
        SensoriumError: for a wrong recipe, or an override that has no place in an estimator.
    """
    extensions = load_extensions()
    for key, value in said_by(overrides).items():
        for refused, (only, why) in decided.items():
            if f"{key}.".startswith(f"{refused}.") and value != only:
                raise RecipeError(f"The override of '{key}' has no place in an estimator, where {why}: leave it out.")
    given = recipe if run is None else Run.open(run).recipe_file
    return make_plan(read_recipe(given, extensions.registry, [*IN_MEMORY, *overrides]), extensions)


def require_folds(count: int, classes: int | None, plan: Plan) -> None:
    """Raise an error where so many labels are too few to choose the epoch in folds of them, or a curve is asked for.

    Args:
        count: of records with a value and a label.
        classes: how many there are; None of numbers.
        plan: of the training; its `finetune` may draw few of the labels.

    Raises:
        ValueError: which says so before anything is trained.
    """
    options, said = plan.recipe.finetune, "with a value and a label"
    for key, amount in (("labels_per_class", options.labels_per_class), ("label_fraction", options.label_fraction)):
        if isinstance(amount, list):
            raise ValueError(
                f"finetune.{key} is a list, {amount}, and an estimator learns from one amount of labels: give one, or "
                "each in a grid of overrides."
            )
    if draws_labels(options):
        drawn = (classes or 0) * (options.labels_per_class or 0) or round(count * (options.label_fraction or 1))  # type: ignore[operator]
        count, said = min(count, drawn), "to learn from"
    elif plan.recipe.data.val:
        return
    if count < FOLDS:
        advice = "" if draws_labels(options) else ", or a val part to choose the epoch on (data.val)"
        raise ValueError(f"There are {count} records {said}, too few for {FOLDS} folds: give more labels{advice}.")


def pretrain(recipe: RecipeLike, overrides: Sequence[str], values: Mapping[str, Any], seed: int, folder: Path) -> Path:
    """Train without labels, and return the run folder."""
    data = read_recipe(recipe, load_extensions().registry, [*IN_MEMORY, *overrides]).data
    count = int(has_value(values).sum())
    most = max(1, int(count * (1 - data.val) * (0.8 if data.val else 1)))  # a part drawn by a hash may be larger
    changes = [*IN_MEMORY, *overrides, f"data.batch={min(data.batch, most)}", f"seed={seed}"]
    return fit(recipe, changes, source=dict(values), run_dir=folder / "pretrained", evaluate=False).run.folder  # type: ignore[union-attr]


def learn_labels(
    run: Path,
    overrides: Sequence[str],
    values: Mapping[str, Any],
    labels: Sequence[Any],
    task: Mapping[str, Any],
    seed: int,
    device: str,
    folder: Path,
) -> Path:
    """Fine-tune a run's encoder and a head on labels, and return the run folder.

    The epoch is chosen as `sensorium finetune` chooses it: in folds of the labels, or on a val part (`data.val`).

    Args:
        run: the run folder whose encoder is the start.
        overrides: of its recipe.
        values: of each field, of N records.
        labels: N classes, or numbers; None where a record has none.
        task: `finetune.task`, with its options.
        seed: of the order of records, dropout and folds, and of the draw of few labels.
        device: as in `sensorium.load`.
        folder: where the run folder is made.
    """
    extensions, place = load_extensions(), find_device(device, "device")
    of_labels = [
        f"finetune.labels=[{LABEL}]",
        f"finetune.task={json.dumps(dict(task))}",
        "finetune.seeds=1",
    ]
    changes, source = [*IN_MEMORY, *overrides, *of_labels], {**values, LABEL: labels}
    model, plan, records = open_run(run, changes, "final", source, extensions, {}, place, {})
    written = Run.create(folder / "finetuned", plan.recipe, extensions)
    with numeric_settings(plan.recipe.train):
        reader, fabric = PartReader(plan, records, written), fabric_of_one(plan.recipe.train, place)
        finetuner = Finetuner(plan, {"trained": model}, reader, written, fabric, plan.recipe.finetune, draw=seed)
        finetuner.read()
        finetuner.fit(seed)
    return written.folder


def seed_of_state(random_state: np.random.RandomState | int | None) -> int:
    """Return the seed that a `random_state` of scikit-learn stands for."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
