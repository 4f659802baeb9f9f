"""Work of single ranks, whose errors are told to all: fitting, evaluation, drawing, writing."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from sensorium.errors import SensoriumError
from sensorium.parallel import collectives

P = ParamSpec("P")
T = TypeVar("T")


def on_rank_zero(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function on rank 0, and return its result, any that can be pickled, on every rank.

    Every rank must call this. The others wait on the host, up to `host_group.TIMEOUT`, so that no collective operation
    of a device is pending meanwhile; the function itself must not contain one.

    Raises:
        Exception: what the function raised, with the same sentence on every rank.
    """
    result: T | None = None
    error: Exception | None = None
    if collectives.rank() == 0:
        try:
            result = function(*args, **kwargs)
        except Exception as raised:
            error = raised
    told = collectives.broadcast((result, _pickled(error)))
    if error is not None:
        raise error
    result, pickled = told
    if pickled is not None:
        raise pickle.loads(pickled)
    return result  # type: ignore[return-value]


def on_every_rank(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function on every rank, and return each rank's own result.

    Every rank must call this; the function itself must not contain a collective operation.

    Raises:
        Exception: what the function raised on the first rank where it did, with the same sentence on every rank.
    """
    error: Exception | None = None
    try:
        result = function(*args, **kwargs)
    except Exception as raised:
        error = raised
    errors = [pickled for pickled in collectives.all_gather_objects(_pickled(error)) if pickled is not None]
    if error is not None:
        raise error
    if errors:
        raise pickle.loads(errors[0])
    return result


def _pickled(error: Exception | None) -> bytes | None:
    """Return an error for the other ranks: itself, or its sentence alone where it does not survive pickling."""
    if error is None:
        return None
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)
    except Exception:
        return pickle.dumps(SensoriumError(str(error) or type(error).__name__))
    return pickled
