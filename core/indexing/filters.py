"""Filters of an index: conditions of SQL over the columns of records, by the names that their user knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sensorium.embeddings.table import LABEL
from sensorium.errors import clipped

WORDS = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|`[^`]*`|\"[^\"]*\"|[^\W\d][\w.]*")
"""Comments, strings, quoted names and bare names of a condition."""
PLACES = re.compile(r",? ?/\S+\.rs:\d+:\d+")
"""Places in the program of the database, which its errors name."""
MARKS = re.compile(r"sql parser error: |Error during planning: |Invalid user input: |Schema error: |Invalid input, ")
"""What stands before the reason in its errors."""
KEYWORDS = "and or not in is null like ilike between true false case when then else end cast as"


def names_of_columns(stored: Mapping[str, str]) -> dict[str, str]:
    """Return under which names a condition may use the columns of an index.

    Args:
        stored: name of a column, such as "label.category" -> the name under which it is stored, "label_category".

    Returns:
        Each of the two, and of a label its own name too ("category") where no column has it -> the stored name.
    """
    labels = {name.removeprefix(LABEL): at for name, at in stored.items() if name.startswith(LABEL)}
    own = {name: at for name, at in labels.items() if name.lower() not in KEYWORDS.split()}
    return {**own, **{at: at for at in stored.values()}, **stored}


def with_stored_names(where: str, names: Mapping[str, str]) -> str:
    """Return a condition with the names of columns as they are stored, quoted; texts in it are left as they are."""

    def stored(found: re.Match[str]) -> str:
        word = found[0]
        if word.startswith(("'", "--", "/*")):
            return word
        name = word[1:-1] if word[0] in '`"' else word
        return f"`{names[name]}`" if name in names else word

    return WORDS.sub(stored, where)


def equal(column: str, value: Any) -> str:
    """Return the condition that a stored column has a value; None asks for those that have none."""
    if value is None:
        return f"`{column}` IS NULL"
    return f"`{column}` = {literal(value)}"


def literal(value: Any) -> str:
    """Return a value as SQL writes it."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def all_of(conditions: Iterable[str]) -> str | None:
    """Return the condition that all of some hold; None of none. A comment at the end of one ends with its line."""
    held = [f"({condition}\n)" if "--" in condition else f"({condition})" for condition in conditions if condition]
    return " AND ".join(held) or None


def reason_of(error: Exception) -> str:
    """Return why a condition is refused: the last clause of what the database says, without its statement and files."""
    said = PLACES.sub("", " ".join(str(error).split())).partition(". Valid fields")[0]
    reason = MARKS.split(said)[-1].partition(", found:")[0].rstrip(". ")
    while reason.endswith(")") and reason.count(")") > reason.count("("):
        reason = reason[:-1]
    return clipped(reason)
