"""What modalities of signals learn from: the raw values of the train part that can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from sensorium import BadSample
from sensorium.errors import DataError

Example = TypeVar("Example")


def readable(raws: Iterable[Any], read: Callable[[Any], Example], kind: str) -> Iterator[Example]:
    """Iterate over what `read` makes of raw values; those it refuses are counted, and named, when they are decoded.

    Args:
        raws: raw values of the train part.
        read: raises BadSample for what it cannot read.
        kind: what a value is, for the error: "sound", say.

    Raises:
        DataError: at the end, when nothing could be read; it tells why the first could not.
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
        raise DataError(f"The train part holds no {kind} that can be read{why}.")
