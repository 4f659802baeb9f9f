"""Sentences for users: what was wrong, where, and what to do.

Every error that a user can cause is a `SensoriumError`; the command line prints its one sentence and exits with its
`code`, and shows a traceback only under `--debug`. Any other exception is a defect of the program.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

LONGEST = 600
"""Characters of a reason, at most."""


class SensoriumError(Exception):
    """An error that the user can correct; `str(error)` is one sentence that says how."""

    code = 1


class RecipeError(SensoriumError):
    """A recipe, or an override of it, that does not describe a run."""

    code = 2


class MissingFile(RecipeError):
    """A file or folder that a recipe names, such as weights that its user brings, is not there."""


class PluginError(SensoriumError):
    """A plugin that cannot give what was asked of it."""

    code = 3


class DataError(SensoriumError):
    """A source without usable records, or with too many unusable ones."""

    code = 4


class RunError(SensoriumError):
    """A run folder that cannot be written, read or resumed."""

    code = 5


class TrainingError(SensoriumError):
    """A training that cannot go on: features collapsed, or too many steps gave no finite loss and gradient."""

    code = 6


class EvaluationError(SensoriumError):
    """Evaluators that failed, after the training is finished; its model and all other tables are kept.

    Args:
        failures: table name -> the reason.
        tables: table name -> the result table of each evaluator that did not fail.
        advice: one more sentence, or none.
    """

    code = 7

    def __init__(self, failures: Mapping[str, str], tables: Mapping[str, Any] | None = None, advice: str = "") -> None:
        self.failures, self.tables, self.advice = dict(failures), dict(tables or {}), advice
        names_of: dict[str, list[str]] = {}
        for name, reason in failures.items():
            names_of.setdefault(as_clause(reason), []).append(f"'{name}'")
        sentences = [
            f"The evaluator{'s' * (len(names) > 1)} {', '.join(names)} failed: {reason}."
            for reason, names in names_of.items()
        ]
        super().__init__(" ".join([*sentences, *([advice] if advice else [])]))

    def __reduce__(self) -> tuple[Any, ...]:
        return EvaluationError, (self.failures, self.tables, self.advice)

    def with_advice(self, advice: str) -> EvaluationError:
        """Return the same error with one more sentence."""
        return EvaluationError(self.failures, self.tables, advice)


class Interrupted(SensoriumError):
    """The training was asked to stop by Ctrl-C (130), SIGTERM (143), SIGUSR1 (138) or SIGHUP (129).

    The sentence says how to resume it.
    """

    code = 143

    def __init__(self, sentence: str, by: int = signal.SIGTERM) -> None:
        super().__init__(sentence)
        self.code = 128 + by


FaultKind = Literal["missing", "empty", "damaged", "encoding", "unsupported", "non-finite", "too-large"]
"""Kinds of faults of a raw value: no such file, or no permission; nothing in it; cut or corrupt; text in another
encoding; whole, but of a form that is not read; numbers that are not finite; larger than an option allows."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where a raw value is found again.

    Args:
        path: the file.
        line: its line in a file of text, or its row in a Parquet file, from 1.
        column: its column, or key, there.
    """

    path: str
    line: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        line = "" if self.line is None else f", line {self.line}"
        return f"{self.path}{line}" + ("" if self.column is None else f", column '{self.column}'")


class BadSample(Exception):
    """One raw value that cannot be read or decoded: it is reported, and its record is used without it.

    Args:
        reason: why, a clause without a full stop.
        kind: the kind of fault.
        where: the file, or the row and column of a table; None where the source or the path itself says it.
    """

    def __init__(self, reason: str, kind: FaultKind = "damaged", where: Location | str | None = None) -> None:
        super().__init__(clipped(reason))
        self.kind: FaultKind = kind
        self.where = Location(where) if isinstance(where, str) else where

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.kind, self.where)


def clipped(text: str) -> str:
    """Return a text for an error, without the middle of a long one: a value that is no path may be a whole document."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


def as_bad_sample(error: BadSample | OSError) -> BadSample:
    """Return the error of a value that cannot be read; that of the system names the file."""
    if isinstance(error, BadSample):
        return error
    file = f"'{error.filename}'" if error.filename else "the file"
    return BadSample(f"{file} cannot be read: {error.strerror or error}", "missing")


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the closest of `words`, or an empty string when none is close."""
    found = get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f", did you mean '{found[0]}'?" if found else ""


def not_found(problem: str, word: str, words: Iterable[str], rest: str) -> str:
    """Return "PROBLEM, did you mean 'x'? Rest." or, when no word is close, "PROBLEM; rest."."""
    suggestion = did_you_mean(word, words)
    return f"{problem}{suggestion} {rest[0].upper()}{rest[1:]}." if suggestion else f"{problem}; {rest}."


def as_clause(sentence: str) -> str:
    """Return a sentence as it stands behind a colon: without its full stop, its first word in lower case."""
    first = sentence.partition(" ")[0]
    return (sentence[0].lower() + sentence[1:] if first.istitle() else sentence).rstrip(".")


def check_range(owner: str, interval: str, /, **options: float | Sequence[float] | None) -> None:
    """Check that options lie in an interval; of a sequence every number, and None always does.

    Args:
        owner: whose options they are, such as "objective 'predict'" or "views 'waveform'".
        interval: in mathematical notation, such as "[0, 1)", "(0, inf)" or "[1, inf)".
        options: their values by name.

    Raises:
        RecipeError: one sentence with the option, the interval and the value.
    """
    low, high = (float(bound) for bound in interval[1:-1].split(","))
    for name, value in options.items():
        for number in value if isinstance(value, Sequence) else [] if value is None else [value]:
            above = number > low if interval[0] == "(" else number >= low
            below = number < high if interval[-1] == ")" else number <= high
            if not (above and below):  # written so that nan fails too
                expected = _in_words(interval, low, high)
                raise RecipeError(f"The option '{name}' of the {owner} must be {expected}, not {value}.")


def check_not_empty(owner: str, /, **options: Sequence[Any]) -> None:
    """Check that options that list values list one or more.

    Raises:
        RecipeError: one sentence with the option.
    """
    for name, values in options.items():
        if not len(values):
            raise RecipeError(f"The option '{name}' of the {owner} is empty: give one value or more.")


def _in_words(interval: str, low: float, high: float) -> str:
    if interval[0] + interval[-1] == "[]":
        return f"between {low:g} and {high:g}"
    lower = f"{'above' if interval[0] == '(' else 'at least'} {low:g}"
    upper = f"{'below' if interval[-1] == ')' else 'at most'} {high:g}"
    return " and ".join([lower] * (low > -math.inf) + [upper] * (high < math.inf))
