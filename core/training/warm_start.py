"""Beginning where another run ended: `train.warm_start`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from sensorium.contracts import Encoder
from sensorium.errors import RunError
from sensorium.models.learner import Learner
from sensorium.runs.checkpoint import Checkpoints, weights_of
from sensorium.runs.run import Run

ENCODERS, OBJECTIVE = "encoders.", "objective."


class WarmStart:
    """What a run takes over from another one, modality by modality, by name.

    Args:
        folder: the other run, trained to its end or not; its latest checkpoint counts.

    Raises:
        RunError: when there is no run, or nothing in it that can be read.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            self.run = Run.open(folder)
        except RunError as error:
            raise RunError(f"train.warm_start: {error}") from error
        state = Checkpoints(self.run.checkpoints, 1).latest()
        if state is None:
            raise RunError(f"train.warm_start: {folder} has no checkpoint that can be read.")
        self._weights: dict[str, Tensor] = weights_of(state)
        self._objective = yaml.safe_load(self.run.recipe_file.read_text(encoding="utf-8"))["objective"]["name"]

    def learned(self, modality: str) -> dict[str, Any] | None:
        """Return what a modality of the other run had learned, such as its tokens; None where it has no such one."""
        return self.run.kept_state(modality)

    def fill(self, encoders: dict[str, Encoder]) -> None:
        """Put weights into the encoders of modalities that the other run has too; all others keep their own.

        Raises:
            RunError: when an encoder is of another architecture, or when the runs share no modality.
        """
        found = {name: self._under(f"{ENCODERS}{name}.") for name in encoders}
        if not any(found.values()):
            raise RunError(f"train.warm_start: {self.run.folder} has none of the modalities {', '.join(encoders)}.")
        for name, weights in found.items():
            if not weights:
                continue
            try:
                encoders[name].load_state_dict(weights)
            except RuntimeError as error:
                raise RunError(
                    f"train.warm_start: the encoder of '{name}' in {self.run.folder} differs from this recipe's: "
                    f"{' '.join(str(error).split())}"
                ) from error

    def carry_on(self, learner: Learner, objective: str) -> None:
        """Put heads, teachers and temperatures into the objective, where it is the same and they are of equal shape.

        What has another shape, such as a longer queue, begins anew.
        """
        if objective != self._objective:
            return
        own = learner.objective.state_dict()
        same = {
            name: weights
            for name, weights in self._under(OBJECTIVE).items()
            if name in own and own[name].shape == weights.shape
        }
        learner.objective.load_state_dict(same, strict=False)

    def _under(self, prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): w for name, w in self._weights.items() if name.startswith(prefix)}
