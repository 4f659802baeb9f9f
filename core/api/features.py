"""Evaluation of features that anything made: arrays, beside baselines."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch

from sensorium.api.parts import build
from sensorium.contracts import Evaluator
from sensorium.errors import DataError
from sensorium.evaluation.runner import ModelFeatures, evaluate_models
from sensorium.evaluation.tables import ResultsTables
from sensorium.feature_table import FeatureTable

Arrays: TypeAlias = Any
"""An array (N, D), a tensor or a list of rows; or a mapping of several, by modality."""
PARTS = ("train", "test")


def evaluate_features(
    x_train: Arrays,
    y_train: Any,
    x_test: Arrays,
    y_test: Any,
    *,
    evaluators: str | Evaluator | Sequence[str | Evaluator] | Mapping[str, Mapping[str, Any] | Evaluator] = (
        "knn",
        "linear",
    ),
    baselines: Mapping[str, tuple[Arrays, Arrays]] | None = None,
    groups: tuple[Sequence[Any], Sequence[Any]] | None = None,
    name: str = "features",
) -> ResultsTables:
    """Measure features of any origin as runs are measured: beside chance and baselines, by evaluators that cannot peek.

    An evaluator fits, and selects its settings, on the train part alone. All rows are measured on the same records.

    Args:
        x_train: features of the N train records: an array or tensor (N, D) of any numeric dtype, bf16 too, finite; or
            modality name -> such an array, for evaluators of several, such as "retrieval". Of "layers" (N, L, D), of
            "attentive" tokens (N, T, D), nan where a record has fewer.
        y_train: their labels, N numbers or strings, None or nan where there is none; or label name -> labels; None for
            evaluators that need none.
        x_test: features of the M test records, likewise.
        y_test: their labels.
        evaluators: names of registered evaluators, or evaluators, one or several; or table name -> options or
            evaluator, the options with the registered name as `name` where it is not that of the table:
            `{"knn": {"k": 5}}`.
        baselines: row name -> its train and its test features, such as raw pixels, of the same records.
        groups: the group of each train and each test record, such as the patient: no group may be in both parts, and
            protocols that cut folds keep groups together. None: each record is its own.
        name: name of the row of the features.

    Returns:
        Table by evaluator; each table has a row for chance, one for each baseline, and one for the features.

    Raises:
        DataError: when numbers of records, or widths of the parts, differ, features are not finite, or there are none.
        EvaluationError: when evaluators failed; with the tables of the others.
        PluginError: for an evaluator that is not registered.
    """
    labels = (_labels(y_train), _labels(y_test))
    rows = {**(baselines or {}), name: (x_train, x_test)}
    models = {row: [_features(row, arrays, labels, groups)] for row, arrays in rows.items()}
    return ResultsTables(evaluate_models(_factories(evaluators), models))


def _factories(
    evaluators: str | Evaluator | Sequence[str | Evaluator] | Mapping[str, Mapping[str, Any] | Evaluator],
) -> dict[str, Callable[[], Evaluator]]:
    """Return what makes the evaluator of each table, a new one for each row."""
    if isinstance(evaluators, str | Evaluator):
        evaluators = [evaluators]
    if not isinstance(evaluators, Mapping):
        given = [(one, {}) if isinstance(one, str) else (_name_of(one), one) for one in evaluators]
        evaluators = dict(given)
    made: dict[str, Callable[[], Evaluator]] = {}
    for table, part in evaluators.items():
        if isinstance(part, Evaluator):
            made[table] = partial(copy.deepcopy, part)
        else:
            options = dict(part)
            made[table] = partial(build, "evaluators", options.pop("name", table), **options)
            made[table]()  # its name and options are checked before anything is measured
    return made


def _name_of(evaluator: Evaluator) -> str:
    return type(evaluator).__name__.lower()


def _features(
    row: str,
    arrays: tuple[Arrays, Arrays],
    labels: Sequence[dict[str, np.ndarray]],
    groups: tuple[Sequence[Any], Sequence[Any]] | None,
) -> ModelFeatures:
    """Return the features of one row of the tables."""
    if not (isinstance(arrays, tuple | list) and len(arrays) == len(PARTS)):
        raise DataError(f"The row '{row}' is a pair of features, of the train and of the test part.")
    tables = [
        _table(f"{part} features of '{row}'", part, x, of_part, None if groups is None else groups[number])
        for number, (part, x, of_part) in enumerate(zip(PARTS, arrays, labels, strict=True))
    ]
    _check_widths(row, *tables)
    is_several = any(x.ndim == 3 for x in tables[0].features.values())
    spaces = ("layers", "tokens") if is_several else ("features", "embedding")
    return ModelFeatures(dict.fromkeys(spaces, (tables[0], tables[1])))


def _check_widths(row: str, train: FeatureTable, test: FeatureTable) -> None:
    """Check that both parts have features of one kind."""
    if train.features.keys() != test.features.keys():
        of_train, of_test = (", ".join(table.features) for table in (train, test))
        raise DataError(f"The train features of '{row}' are of {of_train}, the test features of {of_test}.")
    for name in train.features:
        of_train, of_test = train.features[name], test.features[name]
        if of_train.ndim != of_test.ndim:
            part, several = ("train", of_train) if of_train.ndim == 3 else ("test", of_test)
            raise DataError(
                f"The {part} features of '{row}' have the shape {several.shape}: give (N, D), as the other part has, "
                "or both (N, T, D), of tokens or layers."
            )
        widths = [table.features[name].shape[-1] for table in (train, test)]
        if widths[0] != widths[1]:
            raise DataError(
                f"The train features of '{row}' have the width {widths[0]}, but the test features {widths[1]}: give "
                "those of one model, (N, D) with the same D."
            )


def _table(
    what: str, part: str, x: Arrays, labels: dict[str, np.ndarray], groups: Sequence[Any] | None
) -> FeatureTable:
    """Return features of one part with their labels, after checking that they belong together."""
    features = {key: _rows(what, value) for key, value in (x if isinstance(x, Mapping) else {"features": x}).items()}
    count = len(next(iter(features.values())))
    columns: dict[str, Mapping[str, Any]] = {
        "features": features,
        "labels": labels,
        "groups": {} if groups is None else {"groups": groups},
    }
    for kind, found in columns.items():
        for key, column in found.items():
            if len(column) != count:
                raise DataError(f"The {what} have {count} rows, but its {kind} '{key}' have {len(column)}.")
    ids = [f"{part} {number}" for number in range(count)]
    present = {key: np.ones(count, bool) for key in features}
    return FeatureTable(ids, features, present, labels, ids if groups is None else [str(group) for group in groups])


def _rows(what: str, x: Any) -> np.ndarray:
    """Return an array, a tensor or a list of rows as float32 (N, D), or (N, T, D) of several tokens, or layers."""
    try:
        x_ND = _float32(x)
    except (TypeError, ValueError) as error:
        raise DataError(f"The {what} are no numbers in rows of one width ({error}): give (N, D).") from error
    if x_ND.ndim == 2 and not x_ND.size:
        raise DataError(
            f"The {what} have the shape {x_ND.shape}: there is nothing to measure without rows and columns."
        )
    if x_ND.ndim not in (2, 3):
        raise DataError(f"The {what} have the shape {x_ND.shape}: give (N, D), a row for each record.")
    is_absent = np.isnan(x_ND).all(-1, keepdims=True) if x_ND.ndim == 3 else np.zeros(1, bool)
    is_good_N = (np.isfinite(x_ND) | is_absent).reshape(len(x_ND), -1).all(1)
    if x_ND.ndim == 3:
        is_good_N &= ~is_absent.all((1, 2))
    if not is_good_N.all():
        row = int(np.flatnonzero(~is_good_N)[0])
        raise DataError(f"The {what} are not finite: row {row} is the first. Leave such records out of both arrays.")
    return x_ND


def _float32(x: Any) -> np.ndarray:
    """Return an array, a tensor (of any dtype and device) or a list of these as float32."""
    if isinstance(x, torch.Tensor):
        return x.detach().cpu().float().numpy()
    if isinstance(x, list | tuple):
        x = [_float32(one) if isinstance(one, torch.Tensor) else one for one in x]
    return np.asarray(x, dtype=np.float32)


def _labels(y: Any) -> dict[str, np.ndarray]:
    """Return labels by name, object arrays (N,) of plain numbers or strings."""
    if y is None:
        return {}
    columns = y if isinstance(y, Mapping) else {"label": y}
    made = {}
    for name, column in columns.items():
        listed = column.tolist() if hasattr(column, "tolist") else column
        if isinstance(listed, str) or not isinstance(listed, Iterable):
            raise DataError(f"The labels '{name}' are {listed!r}: give (N,), one for each record.")
        values = [one.tolist() if hasattr(one, "tolist") else one for one in listed]
        if (row := next((one for one in values if isinstance(one, list | tuple)), None)) is not None:
            raise DataError(
                f"The labels '{name}' have {len(row)} values for a record: give (N,), one for each, such as argmax(1) "
                "of one-hot rows; a mapping of names gives several label columns."
            )
        made[name] = np.empty(len(values), object)
        made[name][:] = values
    return made
