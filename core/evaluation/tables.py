"""The table of an evaluator: chance, baseline features, untrained and trained encoder, figure by figure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from sensorium.runs.atomic import write_atomically

ABREAST = 4
"""Figures side by side in a terminal; more are printed below."""


@dataclass(frozen=True)
class Metric:
    """One figure of one row.

    Args:
        scores: one list for each seed (of a training, of a dealing into folds), with the score of each of its folds.
    """

    scores: list[list[float]]

    @property
    def mean(self) -> float:
        """The mean over seeds of the mean over folds."""
        return float(np.mean([np.mean(folds) for folds in self.scores]))

    @property
    def over_seeds(self) -> float | None:
        """Sample deviation over seeds of the mean over folds; None with one seed."""
        return float(np.std([np.mean(folds) for folds in self.scores], ddof=1)) if len(self.scores) > 1 else None

    @property
    def over_folds(self) -> float | None:
        """Sample deviation over the folds of one seed, averaged over seeds; None without folds."""
        folded = [float(np.std(folds, ddof=1)) for folds in self.scores if len(folds) > 1]
        return float(np.mean(folded)) if folded else None

    def __str__(self) -> str:
        seeds = f" ± {_short(self.over_seeds)}" if self.over_seeds is not None else ""
        folds = f" (folds ± {_short(self.over_folds)})" if self.over_folds is not None else ""
        return _short(self.mean) + seeds + folds

    def public(self) -> dict[str, Any]:
        """Return plain values, every score included."""
        names = ("mean", "over_seeds", "over_folds", "scores")
        return {name: getattr(self, name) for name in names}


@dataclass
class Row:
    """One line of a table.

    Args:
        name: chance, baseline, untrained, trained, or whatever is compared.
        figures: figure name -> figure; one that does not apply is absent.
        notes: what was chosen and left out, with how often.
    """

    name: str
    metrics: dict[str, Metric] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)


@dataclass
class Table:
    """What one evaluator measured.

    Args:
        evaluator: its name.
        rows: the lines, from chance upwards.
        protocol: how parts were cut, in words.
        selection: the rule by which settings were chosen, in words.
        split: hash of which records were train and which test.
        counts: how many records each part holds.
    """

    evaluator: str
    rows: list[Row]
    protocol: str
    selection: str
    split: str
    counts: tuple[int, int]

    @property
    def metrics(self) -> list[str]:
        """The names of all figures, in the order in which they were measured."""
        return list(dict.fromkeys(name for row in reversed(self.rows) for name in row.metrics))

    def row(self, name: str) -> Row:
        """Return the line of that name."""
        return next(row for row in self.rows if row.name == name)

    def facts(self) -> list[str]:
        """Return the lines below the figures: deviations, protocol, selection, split, notes."""
        metrics = [metric for row in self.rows for metric in row.metrics.values()]
        lines = [
            f"Protocol: {self.protocol}.",
            f"Selection: {self.selection}; no choice sees the test part.",
            f"Split: {self.split} ({self.counts[0]} train, {self.counts[1]} test).",
        ]
        if any(metric.over_seeds is not None for metric in metrics):
            folds = " of the mean over folds" if any(f.over_folds is not None for f in metrics) else ""
            lines.insert(0, f"±: sample deviation over seeds{folds}.")
        if any(metric.over_folds is not None for metric in metrics):
            lines.insert(0, "folds ±: sample deviation over the folds of one seed, averaged over seeds.")
        return lines + [f"{row.name}: {'; '.join(_tally(row.notes))}." for row in self.rows if row.notes]

    def __rich__(self) -> Group:
        """Render for a terminal, a few figures abreast."""
        blocks: list[RichTable] = []
        for names in self._blocks():
            grid = RichTable(title=None if blocks else self.evaluator, title_justify="left")
            grid.add_column("")
            for name in names:
                grid.add_column(Text(name), justify="right")
            for cells in self._cells(names):
                grid.add_row(*(Text(cell) for cell in cells))
            blocks.append(grid)
        return Group(*blocks, *(Text(line, style="dim") for line in self.facts()))

    def markdown(self) -> str:
        """Render as Markdown."""
        lines = [f"## {self.evaluator}", "", _line(["", *self.metrics])]
        lines.append(_line(["---"] + ["---:"] * len(self.metrics)))
        lines += [_line(cells) for cells in self._cells(self.metrics)]
        return "\n".join([*lines, "", *(f"- {line}" for line in self.facts())]) + "\n"

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
        stem, plain = run / "evaluations" / self.evaluator, json.dumps(self.public(), indent=2, ensure_ascii=False)
        texts = {stem.with_name(f"{stem.name}.json"): plain + "\n", stem.with_name(f"{stem.name}.md"): self.markdown()}
        for path, text in texts.items():
            write_atomically(path, lambda part, text=text: part.write_text(text, encoding="utf-8"))
        return list(texts)

    def _blocks(self) -> list[list[str]]:
        """Return the figures in blocks that fit a terminal; where there are many, a block speaks of one thing."""
        names = self.metrics
        about = [names]
        if len(names) > ABREAST:
            about = [list(same) for _, same in groupby(names, key=lambda name: name.split()[0])]
        return [same[start : start + ABREAST] for same in about for start in range(0, len(same), ABREAST)]

    def _cells(self, names: Sequence[str]) -> list[list[str]]:
        return [[r.name, *(str(r.metrics[n]) if n in r.metrics else "–" for n in names)] for r in self.rows]


def split_hash(train: Sequence[str], test: Sequence[str]) -> str:
    """Return 12 hexadecimal digits that depend on which ids are train and which test, not on their order."""
    text = "\x1e".join("\x1f".join(sorted(ids)) for ids in (train, test))
    return blake2b(text.encode(), digest_size=6).hexdigest()


def _short(value: float) -> str:
    """Return a number with four figures that count: three decimals below ten."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _tally(notes: Counter[str]) -> list[str]:
    """Return notes, with how often each was made where not all were made equally often."""
    same = len(set(notes.values())) == 1
    return [note if same else f"{note} (×{count})" for note, count in notes.items()]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
