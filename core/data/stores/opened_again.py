"""Sources that another process opens again, by their options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from sensorium.contracts import Source
from sensorium.errors import DataError


class OpenedAgain(Source):
    """A source that pickles as its options: a process that unpickles it opens the same store itself."""

    _arguments: tuple[Any, ...]
    _options: dict[str, Any]

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Remember the options."""
        made = super().__new__(cls)
        made._arguments, made._options = arguments, options
        return made

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _opened_again, (type(self), self._arguments, self._options, len(self))


def _opened_again(kind: type[Source], arguments: tuple[Any, ...], options: dict[str, Any], count: int) -> Source:
    """Return a source that another process has open.

    Raises:
        DataError: when the store has changed since.
    """
    source = kind(*arguments, **options)
    if len(source) != count:
        raise DataError(
            f"The source {kind.__name__} had {count:,} records when it was opened, and has {len(source):,} now: no "
            "store may change while it is used."
        )
    return source
