"""Records of a source, asked for together, and again where its store failed."""

from __future__ import annotations

from sensorium.contracts import Source
from sensorium.data.patience import Patience, begin_reading, is_transient
from sensorium.errors import BadSample, PluginError, SensoriumError
from sensorium.types import Record


def request(source: Source, positions: list[int], patience: Patience) -> list[Record | BadSample]:
    """Return what a source has at positions; what its store fails to give is read again, record by record.

    Raises:
        DataError: when the store goes on failing.
        PluginError: when the source fails in any way but `BadSample`; it names the record that it fails on.
    """
    if type(source).read is Source.read or not positions:
        return [_read_alone(source, position, patience) for position in positions]
    begin_reading(positions[0], len(positions))
    try:
        found = source.read(positions)
    except Exception as error:
        if is_transient(error):
            return [_read_alone(source, position, patience) for position in positions]
        if isinstance(error, SensoriumError):
            raise
        for position in positions:
            _read_alone(source, position, patience)
        together = f"reads each of {len(positions)} records alone, but failed to read them together with"
        raise defect(f"{_title(source)} {together}", source.key(positions[0]).id, error) from error
    if len(found) != len(positions):
        raise PluginError(f"{_title(source)} returned {len(found)} records where {len(positions)} were to be read.")
    return [
        _read_alone(source, position, patience) if isinstance(record, BadSample) and is_transient(record) else record
        for position, record in zip(positions, found, strict=True)
    ]


def defect(what: str, id: str, error: Exception) -> PluginError:
    """Return the error of a part that failed on a record in a way that no part should."""
    return PluginError(f"{what} the record '{id}': {type(error).__name__}: {error}.")


def _read_alone(source: Source, position: int, patience: Patience) -> Record | BadSample:
    """Return the record at a position, read again while its store fails."""
    begin_reading(position)

    def read() -> Record:
        (found,) = Source.read(source, [position])
        if isinstance(found, BadSample):
            raise found
        return found

    try:
        return patience.read(read, lambda: source.key(position).id)
    except BadSample as error:
        return error
    except SensoriumError:
        raise
    except Exception as error:
        raise defect(f"{_title(source)} failed to read", source.key(position).id, error) from error


def _title(source: Source) -> str:
    return f"The source {type(source).__name__}"
