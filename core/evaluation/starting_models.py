"""The models of a run before its first step: with the weights that it started from, and with random ones."""

from __future__ import annotations

from collections.abc import Sequence

from sensorium.errors import SensoriumError
from sensorium.evaluation.tables import AS_IT_CAME, UNTRAINED
from sensorium.models.model import Model
from sensorium.models.plan import Plan
from sensorium.runs.run import Run
from sensorium.training.warm_start import first_learner
from sensorium.weights.loading import WeightsReport

Rows = dict[str, list[Model]]


def starting_models(models: Sequence[Model], runs: Sequence[Run]) -> tuple[Rows, list[str]]:
    """Return the rows of a table above that of trained models, and sentences on what is not as in the training.

    A run from scratch has one, its random first weights. One that started from weights has these too, as they came:
    left out, with the reason, where they are gone or are others than the training began from.

    Args:
        models: trained, one for each seed.
        runs: their run folders.
    """
    starts = [_Start(model, run) for model, run in zip(models, runs, strict=True)]
    rows: Rows = {UNTRAINED: [start.untrained() for start in starts]}
    if any(start.has_weights for start in starts) and all(start.model is not None for start in starts):
        rows[AS_IT_CAME] = [start.model for start in starts if start.model is not None]
    return rows, list(dict.fromkeys(start.remark for start in starts if start.remark))


def as_it_came(trained: Model, run: Run) -> tuple[Model | None, str]:
    """Return the model with the weights that its training started from, and a sentence on what is not as it was.

    Args:
        trained: the model.
        run: its run folder.

    Returns:
        None for a run from scratch, without a sentence, and with one where the weights are gone or others.
    """
    start = _Start(trained, run)
    return (start.model if start.has_weights else None), start.remark


class _Start:
    """What the training of one model began from.

    Args:
        trained: the model.
        run: its run folder.
    """

    def __init__(self, trained: Model, run: Run) -> None:
        self.plan, self.device, self.remark = trained.plan, trained.device, ""
        self.has_weights, self.model = True, None
        try:
            learner = first_learner(self.plan, adapted=False)
        except SensoriumError as error:
            self.remark = (
                f"{AS_IT_CAME}: left out, since the weights that the training began from are not here. {error} Bring "
                f"them back, or name where they are: {_again(run, self.plan)}."
            )
            return
        self.has_weights = bool(self.plan.started_from)
        noted = run.status().get("weights", {}) if self.has_weights else {}
        for name, report in self.plan.started_from.items():
            if name in noted and noted[name]["digest"] != report.digest:
                self.remark = _of_others(name, report, noted[name]["digest"], run, self.plan)
                return
            if name not in noted:
                self.remark = (
                    f"{AS_IT_CAME}: {report.where}; the run does not tell which weights the training of '{name}' began "
                    "from, so that this could not be checked."
                )
        self.model = Model(self.plan, learner).to(self.device)

    def untrained(self) -> Model:
        """Return the model with random first weights."""
        if self.model is not None and not self.has_weights:
            return self.model
        return Model(self.plan, self.plan.learner(pretrained=False, adapted=False)).to(self.device)


def _of_others(name: str, now: WeightsReport, before: str, run: Run, plan: Plan) -> str:
    return (
        f"{AS_IT_CAME}: left out, since {now.where} are not the weights that the training of '{name}' began from: they "
        f"have changed (hash {now.digest[:8]}, then {before[:8]}). Name a copy of the old ones: {_again(run, plan)}."
    )


def _again(run: Run, plan: Plan) -> str:
    """Return the command that evaluates with weights in another place."""
    started = [name for name, tower in plan.recipe.modalities.items() if tower.weights is not None]
    key = (
        "train.warm_start"
        if plan.recipe.train.warm_start
        else f"modalities.{(started or list(plan.modalities))[0]}.weights"
    )
    return f"`sensorium evaluate {run.folder} {key}=PATH`"
