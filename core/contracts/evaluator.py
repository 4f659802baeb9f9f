"""How features are measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from sensorium.errors import SensoriumError
from sensorium.feature_table import FeatureTable

if TYPE_CHECKING:
    from PIL.Image import Image


class Evaluator(ABC):
    """Measures frozen features: fits on the train part, reports on the test part.

    It never sees the test part before its choices are made: `fit` receives the train part alone. Which records are
    which part is the protocol's business, not its own; it is copied afresh for every pair of parts.

    Before a training it is run once, on the keys of a sample of the records with random features of a few columns: what
    it refuses there is an error before the first step.
    """

    space: Literal["features", "embedding", "scores", "predictions", "layers", "tokens"] = "features"
    """"features" asks for the encoder's pooled features, "embedding" for the space the objective compares in, "scores"
    for what `Objective.score` returns, each score a column (N, 1) under its name; "layers" for what every layer returns
    (N, L, D), "tokens" for the tokens of the last one (N, T, D), which an encoder may lack; "predictions" for what
    `Objective.predict_tokens` makes of one modality from others, with the columns "image" for pooled features (N, D),
    "image baseline" for baseline features, "image target" for what its tokens are, (N, T, P) or class ids (N, T, 1),
    nan at padding, and, of the part that is measured alone, "text->image" for predictions (N, T, P), log-probabilities
    of classes where targets are class ids; "text+audio->image" are those from several."""
    record_limit: int | None = None
    """In the spaces "layers", "tokens" and "predictions", the largest number of records of a part: of more, it receives
    a sample, chosen by id, and of fewer where memory is short. None for all."""
    protocol: str | Mapping[str, Any] = "given"
    """How the parts are cut: "given", or a protocol with options, `{"name": "kfold", "folds": 10}`."""
    label: str | None = None
    """The label column that it predicts, by whose classes folds are stratified; None takes the only one."""
    selection: str = "nothing is selected"
    """The rule by which it chooses its own settings, as tables print it."""
    is_pairwise: bool = False
    """Whether its metrics "A->B NAME" are shown as a matrix for each NAME, A in rows and B in columns."""
    needs_contents: bool = False
    """Whether it asks for `FeatureTable.contents`."""
    uses_val: bool = False
    """Whether it makes its choices on `val`, where there is one."""
    val: FeatureTable | None = None
    """The val part, of an evaluator that uses it; set before `fit`. None where the run has none, during a training,
    which measures it, and under protocols that cut folds: it then chooses on folds of the train part."""
    breakdown_by: str = "class"
    """What `metrics_by_class` counts by, as tables say it."""
    seed: int = 0
    """Seed of its random draws; set before `fit`, another one for each repetition of a protocol."""
    device: torch.device = torch.device("cpu")
    """Where it multiplies matrices: that of the measured models; set before `fit`."""

    def prepare(self, embed: Callable[..., Mapping[str, Tensor]]) -> None:
        """Receive what embeds raw values of the evaluator's own (class prompts); called once for each model.

        `embed(text=["a photo of a cat"])` gives modality name -> (N, D), in the joint space.
        """

    @abstractmethod
    def fit(self, train: FeatureTable) -> None:
        """Learn and select on the train part."""

    @abstractmethod
    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics of the test part, by name; larger is better unless the name ends in " ↓"."""

    @abstractmethod
    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics at chance level, under the same names; metrics that have no chance level are left out.

        Called after `fit`: the best constant prediction may depend on the train part.
        """

    def references(self, test: FeatureTable) -> dict[str, dict[str, float]]:
        """Return further rows below chance, of predictions without features: name, such as "last value" -> metrics.

        Called after `measure`.
        """
        return {}

    def notes(self) -> list[str]:
        """Return, after `measure`, what a reader must know beside the metrics: what was selected, what excluded."""
        return []

    def predictions(self) -> Mapping[str, np.ndarray]:
        """Return, after `measure`, what was predicted for which record: columns of one length, empty where nothing is.

        "id", the record's; "label" and "prediction"; "score NAME", float, for what was compared, such as each class;
        and what else a reader wants beside them. They are written to a Parquet file beside the table.
        """
        return {}

    def metrics_of(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return the metrics of predictions, of one fold or of several joined; empty where they do not suffice."""
        return {}

    def first_metric(self, predictions: Mapping[str, np.ndarray]) -> Callable[[np.ndarray], float | None]:
        """Return what gives the first metric of any rows of predictions, for intervals over records that are drawn.

        Called hundreds of times with int64 rows, any of them several times; it returns None where a draw has no metric,
        such as one of a single class. Default, by `metrics_of`.
        """

        def measured(rows: np.ndarray) -> float | None:
            try:
                metrics = self.metrics_of({name: column[rows] for name, column in predictions.items()})
            except SensoriumError:
                return None
            return next(iter(metrics.values()), None)

        return measured

    def metrics_by_class(self, predictions: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
        """Return class, or whatever else the records are counted by, such as a task -> metrics; empty without any."""
        return {}

    def remarks(self, predictions: Mapping[str, np.ndarray]) -> list[str]:
        """Return sentences that stand below the table: how many records of which class were measured, if too few."""
        return []

    def plot(self, predictions: Mapping[str, np.ndarray]) -> Image | None:
        """Return a plot of the predictions of one model, such as scores over time, or None; written as PNG."""
        return None
