"""Sentences for users: what was wrong, where, and what to do.

Every error that a user can cause is a `SensoriumError`; the command line prints its one sentence and exits with its
`code`, and shows a traceback only under `--debug`. Any other exception is a defect of the program.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SensoriumError(Exception):
    """Something that the user can mend; `str(error)` is the sentence that says how."""

    code = 1


class RecipeError(SensoriumError):
    """A recipe, or an override of it, that does not describe a run."""

    code = 2


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


class Interrupted(SensoriumError):
    """The run was asked to stop (SIGTERM), wrote a checkpoint and can be resumed."""

    code = 143


class BadSample(Exception):
    """One raw value that a modality cannot decode; the record is counted, named in the log and skipped."""


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the closest of `words`, or an empty string when none is close."""
    found = get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f", did you mean '{found[0]}'?" if found else ""
