"""A CSV file of metrics."""

from __future__ import annotations

import csv
from typing import Any

from sensorium.contracts import Logger
from sensorium.runs.atomic import write_atomically


class CSVFile(Logger):
    """Writes `metrics.csv` in the run folder: a row for each line of the log and each evaluation, a column per metric.

    A metric that comes later than others is a new last column; rows without it are empty there.
    """

    def start(self, folder, recipe, step):
        """Continue the file of the run without the rows of later steps, or begin one."""
        self._path, self._columns, rows = folder / "metrics.csv", ["step"], []
        if step and self._path.is_file():
            with open(self._path, encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                self._columns = list(reader.fieldnames or self._columns)
                rows = [row for row in reader if int(row["step"]) <= step]
        self._write(rows)

    def log(self, step, metrics):
        """Append a row; new metrics write the file anew, with their columns."""
        new = [name for name in metrics if name not in self._columns]
        if new:
            self._file.close()
            with open(self._path, encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            self._columns += new
            self._write(rows)
        self._rows.writerow({"step": step, **metrics})
        self._file.flush()

    def close(self, ending):
        """Close the file."""
        self._file.close()

    def _write(self, rows: list[dict[str, Any]]) -> None:
        """Write header and rows, and keep the file open behind them."""

        def write(path: Any) -> None:
            with open(path, "w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, self._columns)
                writer.writeheader()
                writer.writerows(rows)

        write_atomically(self._path, write)
        self._file = open(self._path, "a", encoding="utf-8", newline="")  # noqa: SIM115 - closed by close()
        self._rows = csv.DictWriter(self._file, self._columns)
