"""Which columns of a table are values of which field, as `data.source.columns` says."""

from __future__ import annotations

from collections.abc import Mapping

Columns = Mapping[str, str | list[str] | dict[str, str]]
"""Field name to a column, to a list of numeric columns, or to a mapping from name to column."""


def by_kind(columns: Columns) -> tuple[dict[str, str], dict[str, list[str]], dict[str, dict[str, str]]]:
    """Return the fields of one column each, those of several numeric columns, and those of a mapping of columns."""
    return (
        {name: column for name, column in columns.items() if isinstance(column, str)},
        {name: column for name, column in columns.items() if isinstance(column, list)},
        {name: column for name, column in columns.items() if isinstance(column, dict)},
    )
