"""An encoder as a transformer of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sensorium.errors import DataError
from sensorium.sklearn.kept_run import KeptRun
from sensorium.sklearn.records import read_records, require_values
from sensorium.sklearn.training import (
    WITHOUT_LABELS,
    RecipeLike,
    as_value_errors,
    passing_folder,
    plan_of,
    pretrain,
    seed_of_state,
)


class SSLTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Trains an encoder without labels as a recipe says, and transforms records to its features.

    X is an array of numbers, (N, D) or with further axes, each row one record; a list of paths, texts or other raw
    values of the recipe's modality; or a data frame, with a column for each field that the recipe reads.

    Args:
        recipe: as in `sensorium.fit`; the default reads rows of numbers as time series.
        overrides: `key.sub=value` texts, such as "train.steps=500".
        run: the folder of a run that is trained already: `fit` then trains nothing, and reads X for its checks alone.
        space: "features" for pooled features, "embedding" for the space that the objective compares in.
        device: where records are encoded, as in `sensorium.load`; the training has its place from the recipe.
        random_state: seed of the training; None draws one.

    Attributes:
        n_features_in_: number of columns of X.
        kept_: the run.
    """

    def __init__(
        self,
        recipe: RecipeLike = "ts2vec",
        overrides: Sequence[str] = (),
        *,
        run: str | Path | None = None,
        space: Literal["features", "embedding"] = "features",
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.recipe, self.overrides, self.run, self.space = recipe, overrides, run, space
        self.device, self.random_state = device, random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on X; labels are not used.

        Raises:
            ValueError: for records or a recipe that cannot be trained on, in one sentence.
        """
        with as_value_errors(), passing_folder() as folder:
            plan = plan_of(self.recipe, self.overrides, self.run, WITHOUT_LABELS)
            values = read_records(self, X, list(plan.fields.values()), fitting=True)
            run = self.run
            if run is None:
                seed = seed_of_state(self.random_state)
                run = pretrain(self.recipe, self.overrides, values, seed, folder)
            self.kept_ = KeptRun(Path(run), self.device)
            fields = self.kept_.model.plan.fields
            self._n_features_out = sum(self._width(name, values[field]) for name, field in fields.items())
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the features of records, float32 (N, D); of several modalities beside one another.

        Raises:
            ValueError: for a record that has no value, or cannot be read.
        """
        check_is_fitted(self)
        with as_value_errors():
            fields = self.kept_.model.plan.fields
            values = read_records(self, X, list(fields.values()), fitting=False)
            require_values(values)
            raws = {name: values[field] for name, field in fields.items()}
            embedded = self.kept_.model.embed(space=self.space, **raws)
            return np.concatenate([embedded[name].numpy() for name in raws], axis=1)

    def _width(self, modality: str, cells: Sequence[Any]) -> int:
        """Return how many features a modality has, as the first value that can be read shows."""
        fault = DataError(f"No record has a value of {modality}.")
        for cell in cells:
            if cell is not None:
                try:
                    return self.kept_.model.embed(space=self.space, **{modality: [cell]})[modality].shape[1]
                except DataError as error:
                    fault = error
        raise fault

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags
