"""The readable part of a stream of raw values, for modalities that are fitted to the train part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from sensorium import BadSample
from sensorium.errors import DataError

Example = TypeVar("Example")


def readable_examples(raws: Iterable[Any], read: Callable[[Any], Example], kind: str) -> Iterator[Example]:
    """Yield what `read` makes of raw values, and skip unreadable ones: decoding counts and names them.

    Args:
        raws: raw values of the train part.
        read: raises BadSample for what it cannot read.
        kind: what a value is, for the error, such as "audio clip".

    Raises:
        DataError: at the end, when nothing could be read; it gives the reason for the first one.
    """
    found, first = False, None
    for raw in raws:
        try:
            example = read(raw)
        except BadSample as reason:
            first = first or reason
            continue
        found = True
        yield example
    if not found:
        why = f"; the first one: {first}" if first else ""
        raise DataError(f"The train part has no readable {kind}{why}.")
