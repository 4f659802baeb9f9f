"""The result table of an evaluator: metrics of chance, baseline features, the untrained and the trained encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.runs.atomic import write_json, write_text


@dataclass(frozen=True)
class Metric:
    """One metric of one row.

    Args:
        scores: one list for each seed (of a training, of an assignment to folds), with the score of each of its folds.
    """

    scores: list[list[float]]

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
        return _short(self.mean) + seeds + folds

    def public(self) -> dict[str, Any]:
        """Return plain values, every score included."""
        names = ("mean", "std_over_seeds", "std_over_folds", "scores")
        return {name: getattr(self, name) for name in names}


@dataclass
class ResultsRow:
    """One row of a result table.

    Args:
        name: chance, baseline, untrained, trained, or whatever is compared.
        metrics: metric name -> metric; one that does not apply is absent.
        notes: note on chosen hyperparameters and excluded records -> number of fits it applies to.
    """

    name: str
    metrics: dict[str, Metric] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)


@dataclass
class ResultsTable:
    """The results of one evaluator.

    Args:
        evaluator: its name.
        rows: chance first, the trained encoder last.
        protocol: description of the protocol.
        selection: description of how hyperparameters were chosen.
        split: hash of the ids of the train and of the test records.
        counts: number of train and of test records.
    """

    evaluator: str
    rows: list[ResultsRow]
    protocol: str
    selection: str
    split: str
    counts: tuple[int, int]

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics, in the order in which they were measured."""
        return list(dict.fromkeys(name for row in reversed(self.rows) for name in row.metrics))

    def row(self, name: str) -> ResultsRow:
        """Return the row of that name."""
        return next(row for row in self.rows if row.name == name)

    def footnotes(self) -> list[str]:
        """Return the lines below the metrics: standard deviations, protocol, selection, split, notes."""
        metrics = [metric for row in self.rows for metric in row.metrics.values()]
        lines = [
            f"Protocol: {self.protocol}.",
            f"Selection: {self.selection}; never on the test part.",
            f"Split: {self.split} ({self.counts[0]} train, {self.counts[1]} test).",
        ]
        if any(metric.std_over_seeds is not None for metric in metrics):
            folds = " of the mean over folds" if any(f.std_over_folds is not None for f in metrics) else ""
            lines.insert(0, f"±: sample standard deviation over seeds{folds}.")
        if any(metric.std_over_folds is not None for metric in metrics):
            lines.insert(0, "folds ±: sample standard deviation over the folds of one seed, averaged over seeds.")
        return lines + [f"{row.name}: {'; '.join(_tally(row.notes))}." for row in self.rows if row.notes]

    def markdown(self) -> str:
        """Render as Markdown."""
        lines = [f"## {self.evaluator}", "", *markdown_table(["", *self.metrics], self._cells(self.metrics)), ""]
        return "\n".join([*lines, *(f"- {line}" for line in self.footnotes())]) + "\n"

    def __repr__(self) -> str:
        return self.markdown()

    def _repr_html_(self) -> str:
        """Render for a notebook."""
        head = "".join(f"<th>{escape(name)}</th>" for name in ["", *self.metrics])
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
            for cells in self._cells(self.metrics)
        )
        notes = "<br>".join(map(escape, self.footnotes()))
        return (
            f"<table><caption>{escape(self.evaluator)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table><small>{notes}</small>"
        )

    def public(self) -> dict[str, Any]:
        """Return plain values for JSON: every score of every seed and fold."""
        return {
            "evaluator": self.evaluator,
            "protocol": self.protocol,
            "selection": self.selection,
            "split": self.split,
            "train": self.counts[0],
            "test": self.counts[1],
            "rows": {
                row.name: {
                    "metrics": {name: metric.public() for name, metric in row.metrics.items()},
                    "notes": _tally(row.notes),
                }
                for row in self.rows
            },
        }

    def write(self, run: Path) -> list[Path]:
        """Write `evaluations/NAME.json` and `.md` into a run folder; return their paths."""
        folder = run / "evaluations"
        plain, text = folder / f"{self.evaluator}.json", folder / f"{self.evaluator}.md"
        write_json(plain, self.public(), indent=2)
        write_text(text, self.markdown())
        return [plain, text]

    def _cells(self, names: Sequence[str]) -> list[list[str]]:
        return [[r.name, *(str(r.metrics[n]) if n in r.metrics else "–" for n in names)] for r in self.rows]


class ResultsTables(dict[str, ResultsTable]):
    """Tables by name; shown one below the other."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.values()))

    def _repr_html_(self) -> str:
        """Render for a notebook."""
        return "".join(table._repr_html_() for table in self.values())


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, all columns but the first aligned right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines]


def split_hash(train: Sequence[str], test: Sequence[str]) -> str:
    """Return a hash (12 hexadecimal digits) of the sets of train and of test ids."""
    text = "\x1e".join("\x1f".join(sorted(ids)) for ids in (train, test))
    return blake2b(text.encode(), digest_size=6).hexdigest()


def _short(value: float) -> str:
    """Return a number with four significant digits: three decimals below ten."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _tally(notes: Counter[str]) -> list[str]:
    """Return the notes, with their counts unless these are all equal."""
    same = len(set(notes.values())) == 1
    return [note if same else f"{note} (×{count})" for note, count in notes.items()]
