"""Tables that are bundled with scikit-learn."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from importlib.resources import files
from typing import Any, Literal

from sensorium import Record, SensoriumError, Source, check_range

_LOADERS = {
    "wine": "load_wine",
    "breast-cancer": "load_breast_cancer",
    "diabetes": "load_diabetes",
    "iris": "load_iris",
}
_OPENML = {
    "titanic": ("id_40945", "data-v1-dl-16826755.arff.gz"),
    "penguins": ("id_42585", "data-v1-dl-21854866.arff.gz"),
}


class SklearnTable(Source):
    """A table that is bundled with scikit-learn: field "tabular", and "text" where rows have a text.

    "wine" (178 rows, 13 numbers), "breast-cancer" (569, 30), "iris" (150, 4) and "penguins" (344; four numbers, island
    and sex, missing cells) have the label "class"; "diabetes" (442 rows, 10 numbers) the label "target", a number;
    "titanic" (1,309 passengers; age, fare and numbers of relatives, class, sex, port, missing cells) the label
    "survived", and the passenger's name as text.

    Args:
        dataset: wine, breast-cancer, diabetes, iris, penguins or titanic.
        missing: fraction of the cells that are left out, always the same ones, in [0, 1).
    """

    def __init__(
        self,
        dataset: Literal["wine", "breast-cancer", "diabetes", "iris", "penguins", "titanic"] = "wine",
        missing: float = 0.0,
    ) -> None:
        check_range("source 'sklearn-table'", "[0, 1)", missing=missing)
        self._dataset = dataset
        rows = _bundled(dataset) if dataset in _LOADERS else _openml(dataset)
        self._rows, self._missing = rows, missing

    @property
    def fields(self) -> tuple[str, ...]:
        """The row, and the name of a passenger."""
        return ("tabular", "text") if self._dataset == "titanic" else ("tabular",)

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, index: int) -> Record:
        """Return the record at `index` without its values."""
        return Record(f"{self._dataset}-{range(len(self))[index]}", {}, dict(self._rows[index][1]))

    def __getitem__(self, index: int) -> Record:
        key, (cells, _, text) = self.key(index), self._rows[index]
        cells = {name: None if self._is_missing(key.id, name) else cell for name, cell in cells.items()}
        return Record(key.id, {"tabular": cells} | ({"text": text} if text else {}), key.labels)

    def _is_missing(self, id: str, column: str) -> bool:
        return zlib.crc32(f"{id} {column}".encode()) < self._missing * 2**32


_Rows = list[tuple[dict[str, Any], dict[str, Any], str]]


def _bundled(dataset: str) -> _Rows:
    """Return cells, labels and text of a dataset that scikit-learn loads."""
    import sklearn.datasets

    bunch = getattr(sklearn.datasets, _LOADERS[dataset])()
    names = getattr(bunch, "target_names", None)
    labels = [{"target": float(y)} if names is None else {"class": str(names[y])} for y in bunch.target]
    columns = [str(name) for name in bunch.feature_names]
    cells = [dict(zip(columns, row, strict=True)) for row in bunch.data.tolist()]
    return [(row, label, "") for row, label in zip(cells, labels, strict=True)]


def _openml(dataset: str) -> _Rows:
    """Return cells, labels and text of a dataset that scikit-learn bundles for its tests."""
    file = files("sklearn.datasets.tests.data.openml").joinpath(*_OPENML[dataset])
    try:
        text = gzip.decompress(file.read_bytes()).decode("utf-8")
    except OSError as error:
        raise SensoriumError(f"This build of scikit-learn lacks '{dataset}': install its wheel from PyPI.") from error
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("%")]
    names = [line.split()[1].strip("'\"") for line in lines if line.lower().startswith("@attribute")]
    data = lines[[line.lower() for line in lines].index("@data") + 1 :]
    rows = [
        dict(zip(names, row, strict=True)) for row in csv.reader(io.StringIO("\n".join(data)), skipinitialspace=True)
    ]
    return [_penguin(row) if dataset == "penguins" else _passenger(row) for row in rows]


def _number(word: str) -> float | None:
    return None if word == "?" else float(word)


def _word(word: str) -> str | None:
    return None if word == "?" else word


def _penguin(row: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any], str]:
    label = row.pop("species")
    words = {name: _word(row.pop(name)) for name in ("island", "sex")}
    return {**{name: _number(word) for name, word in row.items()}, **words}, {"class": label}, ""


def _passenger(row: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any], str]:
    cells: dict[str, Any] = {name: _number(row[name]) for name in ("age", "sibsp", "parch", "fare")}
    cells |= {"class": f"class {row['pclass']}", "sex": _word(row["sex"]), "port": _word(row["embarked"])}
    return cells, {"survived": row["survived"]}, row["name"]
