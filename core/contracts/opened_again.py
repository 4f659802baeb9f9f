"""Sources that another process opens again, by their options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from sensorium.contracts.source import Source
from sensorium.errors import DataError


class OpenedAgain(Source):
    """A source that pickles as its options: a process that unpickles it opens the same records itself.

    So a loader worker that is spawned receives a few words rather than the data. It makes sure that the records are
    still the same: their number, ids, labels, splits, groups and times. A worker that is forked opens nothing, and
    shares the memory of the process that started it.

    Args:
        arguments: positional arguments of the source's constructor.
        options: its keyword arguments.
    """

    _arguments: tuple[Any, ...]
    _options: dict[str, Any]

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Remember the options."""
        made = super().__new__(cls)
        made._arguments, made._options = arguments, options
        return made

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _opened_again, (type(self), self._arguments, self._options, len(self), self.columns().fingerprint())


def _opened_again(
    kind: type[Source], arguments: tuple[Any, ...], options: dict[str, Any], count: int, fingerprint: str
) -> Source:
    """Return a source that another process has open.

    Raises:
        DataError: when its records have changed since.
    """
    source = kind(*arguments, **options)
    if len(source) != count:
        change = f"had {count:,} records when it was opened, and has {len(source):,} now"
    elif source.columns().fingerprint() != fingerprint:
        change = "had other ids, labels, splits, groups or times when it was opened than it has now"
    else:
        return source
    raise DataError(f"The source {kind.__name__} {change}: no store may change while it is used.")
