"""Which source reads the records that are to be predicted: the run's own of another path, or that of the path."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sensorium.checking.subject import named_source
from sensorium.data.readers import TableReader
from sensorium.errors import DataError
from sensorium.recipe import read_recipe
from sensorium.recipe.parts import Part
from sensorium.registration.registry import Registry
from sensorium.runs.run import Run

log = logging.getLogger("sensorium")
OF_LABELED = ("labels", "split", "splits", "groups", "group")
"""Options of a source that say what labeled records have, and new ones need not."""
OF_FORMAT = ("format", "delimiter")
"""Options of a source that say how a file is read, and hold for those of the same ending."""
OF_ROWS = ("columns", "column")
"""Options of the sources of rows, which use the same words for the same things; to them an id is a name alone."""


def source_words(run: Run, source: str | Path, part: str, registry: Registry) -> list[str]:
    """Return the overrides that put a path, or a registered source, in place of the run's source.

    The run's own source reads a path of its kind with all of its options; those of new records need no labels. Another
    source of rows is handed the options that both have, such as id and columns.

    Raises:
        SensoriumError: when nothing reads the path, or the part cannot be told from its file.
    """
    path, own = Path(source).expanduser(), read_recipe(run.recipe_file, registry).data.source
    if own is None or own.handed_in is not None or not path.exists() or not _paths(own.options):
        return _in_place(*named_source(str(source), registry))
    kept = {key: value for key, value in own.options.items() if part != "all" or key not in OF_LABELED}
    cls = registry.find("sources", own.name).load()
    if _reads(own, getattr(cls, "extensions", ()), path):
        name = own.name
    else:
        name, _ = named_source(str(source), registry)
        cls = registry.find("sources", name).load()
        both = _options(cls) - {"splits"} if _knows_rows(cls) else set()
        kept = {key: value for key, value in kept.items() if key in both}
    if TableReader.extension(path) not in map(_ending, _paths(own.options)):
        kept = {key: value for key, value in kept.items() if key not in OF_FORMAT}
    if part == "all" and _knows_rows(cls):
        kept = _without_id(kept, path)
    if part == "all" and "exclude" in _options(cls):
        kept = {**kept, "exclude": [*(kept.get("exclude") or []), *_labels_there(own.options, path)]}
    return _in_place(name, {**kept, **_located(own, path, part)})


def _in_place(name: str, options: Mapping[str, Any]) -> list[str]:
    """Return the overrides that put a source in place of the run's, of which no option stays."""
    return ["data.source={}", f"data.source={json.dumps({'name': name, **options})}"]


def _paths(options: Mapping[str, Any]) -> list[str]:
    """Return the paths that a source reads."""
    named = options.get("path") or list((options.get("splits") or {}).values())
    return [path for one in ([named] if isinstance(named, str) else named) for path in _listed(one)]


def _listed(paths: str | Iterable[str]) -> list[str]:
    return [paths] if isinstance(paths, str) else list(paths)


def _ending(path: str) -> str:
    return TableReader.extension(Path(path))


def _reads(own: Part, extensions: Iterable[str], path: Path) -> bool:
    """Return whether a run's source reads a path: a folder as it reads folders, a file by its ending.

    One that says no endings, such as of plain text, reads whatever is no table.
    """
    paths, ending = _paths(own.options), TableReader.extension(path)
    if path.is_dir():
        return ending in map(_ending, paths) or any(Path(one).expanduser().is_dir() for one in paths)
    others = () if extensions else TableReader.EXTENSIONS
    reads_any = bool(others) and any(Path(one).expanduser().is_file() for one in paths)
    return ending in {*map(_ending, paths), *extensions} or (reads_any and ending not in others)


def _options(cls: type) -> set[str]:
    return set(inspect.signature(cls).parameters)


def _knows_rows(cls: type) -> bool:
    return any(option in _options(cls) for option in OF_ROWS)


def _located(own: Part, path: Path, part: str) -> dict[str, Any]:
    """Return the option that names a path; all splits, of a source with a file for each, where it is the part's.

    Raises:
        DataError: when it is not, and a part is asked for.
    """
    if own.options.get("path") or part == "all":
        return {"path": str(path)}
    splits = own.options["splits"]
    if [Path(one).expanduser().resolve() for one in _listed(splits.get(part) or [])] == [path.resolve()]:
        return {"splits": splits}
    raise DataError(
        f"The parts of the run's source are files (its option 'splits'), and '{path}' is not that of part '{part}': "
        "predict all of its records (--part all)."
    )


def _without_id(options: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return options without the id where a table has no such column: its rows have a number for a name."""
    column, there = options.get("id"), _columns(options, path)
    if column is None or there is None or column in there:
        return options
    log.warning("'%s' has no column '%s', the run's ids: its records are named by their row.", path, column)
    return {key: value for key, value in options.items() if key != "id"}


def _labels_there(options: Mapping[str, Any], path: Path) -> list[str]:
    """Return the columns of labels, splits and groups that a table has, which are not to become channels."""
    named = [*(options.get("labels") or []), options.get("split"), options.get("group")]
    return [column for column in _columns(options, path) or [] if column in named]


def _columns(options: Mapping[str, Any], path: Path) -> list[str] | None:
    """Return the names of the columns of a table; None of what is none."""
    if not path.is_file() or TableReader.extension(path) not in TableReader.EXTENSIONS:
        return None
    known = inspect.signature(TableReader).parameters
    return TableReader(**{key: value for key, value in options.items() if key in known}).column_names(path)
