"""The result table of an evaluator: metrics of chance, baseline features, the untrained and the trained encoder."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from sensorium.evaluation.predictions import Columns, write_predictions
from sensorium.runs.atomic import write_atomically, write_json, write_text

UNTRAINED, AS_IT_CAME, TRAINED = "untrained", "as it came", "trained"
"""Rows of a run's model: with random weights; with the weights that it started from, if any, before the first step; as
it is now."""


@dataclass(frozen=True)
class Metric:
    """One metric of one row.

    Args:
        scores: one list for each seed (of a training, of an assignment to folds), with the score of each of its folds.
        interval: the 95 % interval of the mean over seeds that chance leaves it, over the measured records.
    """

    scores: list[list[float]]
    interval: tuple[float, float] | None = None

    @property
    def mean(self) -> float:
        """The mean over seeds of the mean over folds."""
        return float(np.mean([np.mean(folds) for folds in self.scores]))

    @property
    def std_over_seeds(self) -> float | None:
        """Sample standard deviation over seeds of the mean over folds; None with one seed."""
        return float(np.std([np.mean(folds) for folds in self.scores], ddof=1)) if len(self.scores) > 1 else None

    @property
    def std_over_folds(self) -> float | None:
        """Sample standard deviation over the folds of one seed, averaged over seeds; None without folds."""
        folded = [float(np.std(folds, ddof=1)) for folds in self.scores if len(folds) > 1]
        return float(np.mean(folded)) if folded else None

    def __str__(self) -> str:
        seeds = f" ± {_short(self.std_over_seeds)}" if self.std_over_seeds is not None else ""
        folds = f" (folds ± {_short(self.std_over_folds)})" if self.std_over_folds is not None else ""
        interval = f" [{_short(self.interval[0])}, {_short(self.interval[1])}]" if self.interval is not None else ""
        return _short(self.mean) + seeds + folds + interval

    def public(self) -> dict[str, Any]:
        """Return plain values, every score included."""
        names = ("mean", "std_over_seeds", "std_over_folds", "scores")
        plain = {name: getattr(self, name) for name in names}
        return plain if self.interval is None else plain | {"interval": list(self.interval)}


@dataclass
class ResultsRow:
    """One row of a result table.

    Args:
        name: chance, baseline, untrained, as it came, trained, or whatever is compared.
        metrics: metric name -> metric; one that does not apply is absent.
        notes: note on chosen hyperparameters and excluded records -> number of fits it applies to.
    """

    name: str
    metrics: dict[str, Metric] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)


Breakdown = dict[str, dict[str, float]]
"""Class or group -> metric -> value."""
PAIR = "->"
"""Stands between the query and the target in the name of a metric of a pair."""
MOST = 30
"""With more classes or groups than this, they stand in a file of their own only, not below the table."""


@dataclass(frozen=True)
class Folds:
    """What a protocol held out, one fold at a time.

    Args:
        word: "fold" or "group".
        held_out: name of the fold -> number of its records.
    """

    word: str
    held_out: Mapping[str, int]

    def __str__(self) -> str:
        sizes = sorted(set(self.held_out.values()))
        each = f"{sizes[0]}" + (f" to {sizes[-1]}" if len(sizes) > 1 else "")
        return f"{sum(self.held_out.values())} records in {len(self.held_out)} {self.word}s of {each}"


@dataclass
class ResultsTable:
    """The results of one evaluator.

    Args:
        evaluator: its name.
        rows: chance first, the trained encoder last.
        protocol: description of the protocol.
        selection: description of how hyperparameters were chosen.
        split: hash of the ids of the train and of the test records.
        counts: number of train and of test records of the run.
        folds: what the protocol held out; None for the split of the run.
        remarks: sentences on the measured records, such as how many there are of each class.
        classes: row -> class, or whatever else `breakdown_by` says, -> its metrics.
        groups: row -> held-out group -> its metrics.
        is_pairwise: metrics "A->B NAME" are shown as a matrix for each NAME, those of the last row.
        plot: of the predictions of the last row, such as scores over time; None for none.
        breakdown_by: what `classes` are, such as "class" or "layer".
    """

    evaluator: str
    rows: list[ResultsRow]
    protocol: str
    selection: str
    split: str
    counts: tuple[int, int]
    folds: Folds | None = None
    remarks: list[str] = field(default_factory=list)
    classes: dict[str, Breakdown] = field(default_factory=dict)
    groups: dict[str, Breakdown] = field(default_factory=dict)
    is_pairwise: bool = False
    plot: Image | None = None
    breakdown_by: str = "class"

    @classmethod
    def read(cls, path: Path) -> ResultsTable:
        """Return the table in a JSON file that `write` wrote, without what stands in the files beside it."""
        plain = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            ResultsRow(
                name,
                {metric: Metric(values["scores"]) for metric, values in row["metrics"].items()},
                Counter(row.get("notes", [])),
            )
            for name, row in plain["rows"].items()
        ]
        about = (plain["protocol"], plain["selection"], plain["split"], (plain["train"], plain["test"]))
        folds = Folds("part", plain["held_out"]) if plain.get("held_out") else None
        return cls(plain["evaluator"], rows, *about, folds, plain.get("remarks", []))

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics, in the order in which they were measured."""
        return list(dict.fromkeys(name for row in reversed(self.rows) for name in row.metrics))

    @property
    def shown(self) -> list[str]:
        """The names of the metrics in the table as it is shown: without those that stand in matrices."""
        return [name for name in self.metrics if not (self.is_pairwise and PAIR in name)]

    def matrices(self) -> dict[str, list[list[str]]]:
        """Return the metrics of pairs of the last row as matrices: name of the metric -> lines of cells, heading first.

        A pair that was not measured is a dash.
        """
        found: dict[str, dict[tuple[str, str], str]] = {}
        for key, metric in self.rows[-1].metrics.items() if self.is_pairwise else ():
            pair, _, name = key.partition(" ")
            if PAIR in pair:
                query, _, target = pair.partition(PAIR)
                found.setdefault(name, {})[query, target] = str(metric)
        names = list(dict.fromkeys(side for pairs in found.values() for pair in pairs for side in pair))
        return {
            title: [
                [f"{title}, query {PAIR} target", *names],
                *([query, *(pairs.get((query, target), "–") for target in names)] for query in names),
            ]
            for title, pairs in found.items()
        }

    def row(self, name: str) -> ResultsRow:
        """Return the row of that name."""
        return next(row for row in self.rows if row.name == name)

    def means(self) -> dict[str, float]:
        """Return the mean metrics of the row "trained"; in a table of other rows those of all, behind their names."""
        if any(row.name == TRAINED for row in self.rows):
            return {name: metric.mean for name, metric in self.row(TRAINED).metrics.items()}
        return {f"{row.name} {name}": metric.mean for row in self.rows for name, metric in row.metrics.items()}

    def footnotes(self) -> list[str]:
        """Return the lines below the metrics: standard deviations, protocol, selection, split, notes."""
        metrics = [metric for row in self.rows for metric in row.metrics.values()]
        lines = [
            f"Protocol: {self.protocol}.",
            f"Selection: {self.selection}; never on the test part.",
            f"Split: {self.split} ({self.folds or f'{self.counts[0]} train, {self.counts[1]} test'}).",
            *self.remarks,
        ]
        if any(metric.std_over_seeds is not None for metric in metrics):
            folds = " of the mean over folds" if any(f.std_over_folds is not None for f in metrics) else ""
            lines.insert(0, f"±: sample standard deviation over seeds{folds}.")
        if any(metric.interval is not None for metric in metrics):
            lines.insert(
                0, "[ ]: 95 % interval of the mean over seeds, by a percentile bootstrap over the test records."
            )
        if any(metric.std_over_folds is not None for metric in metrics):
            lines.insert(0, "folds ±: sample standard deviation over the folds of one seed, averaged over seeds.")
        return lines + [f"{row.name}: {'; '.join(_tally(row.notes))}." for row in self.rows if row.notes]

    def markdown(self) -> str:
        """Render as Markdown."""
        lines = [f"## {self.evaluator}", "", *markdown_table(["", *self.shown], self._cells(self.shown)), ""]
        for heading, *body in self.matrices().values():
            lines += [*markdown_table([f"{self.rows[-1].name}: {heading[0]}", *heading[1:]], body), ""]
        return "\n".join([*lines, *(f"- {line}" for line in self.footnotes())]) + "\n"

    def __repr__(self) -> str:
        return self.markdown()

    def _repr_html_(self) -> str:
        """Render for a notebook."""
        head = "".join(f"<th>{escape(name)}</th>" for name in ["", *self.shown])
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
            for cells in self._cells(self.shown)
        )
        notes = "<br>".join(map(escape, self.footnotes()))
        return (
            f"<table><caption>{escape(self.evaluator)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>{''.join(map(_html_matrix, self.matrices().values()))}<small>{notes}</small>"
        )

    def breakdown(self) -> str:
        """Render the metrics of the last row's classes and groups as Markdown; empty without any, or with too many."""
        lines = []
        for title, of_rows in ((self.breakdown_by, self.classes), ("group", self.groups)):
            of_last = of_rows.get(self.rows[-1].name, {})
            if 0 < len(of_last) <= MOST:
                names = list(dict.fromkeys(name for metrics in of_last.values() for name in metrics))
                cells = [[k, *(_short_or_count(m.get(n)) for n in names)] for k, m in of_last.items()]
                lines += ["", f"### {self.rows[-1].name}, by {title}", "", *markdown_table([title, *names], cells)]
        return "\n".join(lines) + "\n" if lines else ""

    def public(self) -> dict[str, Any]:
        """Return plain values for JSON: every score of every seed and fold."""
        return {
            "evaluator": self.evaluator,
            "protocol": self.protocol,
            "selection": self.selection,
            "split": self.split,
            "train": self.counts[0],
            "test": self.counts[1],
            "held_out": dict(self.folds.held_out) if self.folds is not None else None,
            "remarks": self.remarks,
            "rows": {
                row.name: {
                    "metrics": {name: metric.public() for name, metric in row.metrics.items()},
                    "notes": _tally(row.notes),
                }
                for row in self.rows
            },
        }

    def write(self, run: Path, predictions: Columns | None = None) -> list[Path]:
        """Write `evaluations/NAME.json`, `.md` and, where there are any, classes, groups, a plot and predictions.

        Args:
            run: the run folder.
            predictions: of all rows, written to `NAME-predictions.parquet`.

        Returns:
            Their paths.
        """
        folder = run / "evaluations"
        plain, text = folder / f"{self.evaluator}.json", folder / f"{self.evaluator}.md"
        write_json(plain, self.public(), indent=2)
        write_text(text, self.markdown() + self.breakdown())
        paths = [plain, text]
        by = self.breakdown_by
        plural_of = "classes" if by == "class" else f"{by}s"
        for kind, plural, of_rows in ((by, plural_of, self.classes), ("group", "groups", self.groups)):
            if of_rows:
                paths.append(folder / f"{self.evaluator}-{plural}.csv")
                write_text(paths[-1], _csv(kind, of_rows))
        if (plot := self.plot) is not None:
            paths.append(folder / f"{self.evaluator}.png")
            write_atomically(paths[-1], lambda path: plot.save(path, format="PNG"))
        if predictions:
            paths.append(folder / f"{self.evaluator}-predictions.parquet")
            write_predictions(paths[-1], predictions)
        return paths

    def _cells(self, names: Sequence[str]) -> list[list[str]]:
        return [[r.name, *(str(r.metrics[n]) if n in r.metrics else "–" for n in names)] for r in self.rows]


class ResultsTables(dict[str, ResultsTable]):
    """Tables by name; shown one below the other."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.values()))

    def _repr_html_(self) -> str:
        """Render for a notebook."""
        return "".join(table._repr_html_() for table in self.values())


def _html_matrix(lines: Sequence[Sequence[str]]) -> str:
    rows = ("".join(f"<td>{escape(cell)}</td>" for cell in cells) for cells in lines)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, all columns but the first aligned right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines]


def _csv(kind: str, of_rows: Mapping[str, Breakdown]) -> str:
    """Return a breakdown of all rows as CSV: one line for each row and class (or group)."""
    names = dict.fromkeys(name for of_row in of_rows.values() for metrics in of_row.values() for name in metrics)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", kind, *names])
    for row, of_row in of_rows.items():
        writer.writerows([row, key, *(metrics.get(name, "") for name in names)] for key, metrics in of_row.items())
    return text.getvalue()


def split_hash(train: Sequence[str], test: Sequence[str]) -> str:
    """Return a hash (12 hexadecimal digits) of the sets of train and of test ids."""
    text = "\x1e".join("\x1f".join(sorted(ids)) for ids in (train, test))
    return blake2b(text.encode(), digest_size=6).hexdigest()


def _short(value: float) -> str:
    """Return a number with four significant digits: three decimals below ten."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _short_or_count(value: float | None) -> str:
    return "–" if value is None else str(value) if isinstance(value, int) else _short(value)


def _tally(notes: Counter[str]) -> list[str]:
    """Return the notes, with their counts unless these are all equal."""
    same = len(set(notes.values())) == 1
    return [note if same else f"{note} (×{count})" for note, count in notes.items()]
