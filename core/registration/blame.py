"""Which plugin an exception comes from: found by the frames of its traceback, so that no part has to be wrapped."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from traceback import walk_tb
from types import CodeType, FrameType
from typing import Any, ParamSpec, TypeVar

from sensorium.errors import SensoriumError
from sensorium.registration.discovery import Extensions, Plugin, load_extensions
from sensorium.registration.registry import SESSION, Spec

_FRAME_IN_TEXT = re.compile(r'^\s*File "(.+)", line (\d+), in (.+)$', re.MULTILINE)
"""A frame in the text of a traceback that another process printed into the message of its exception."""


_CAUSED = "The above exception was the direct cause"
"""Where such a text goes from one traceback to that of the exception that was raised from it."""


@dataclass(frozen=True)
class Frame:
    """One line of a traceback.

    Args:
        path: the file.
        line: in the file, from 1.
        owner: the class of the object that the code belongs to, where the traceback is of this process.
    """

    path: str
    line: int
    owner: type | None = None


@dataclass(frozen=True)
class Blame:
    """The line of a plugin that an exception comes from.

    Args:
        plugin: whose code it is.
        part: the registered part that it belongs to, if it is found.
        place: the file, from the plugin's package on, and the line.
    """

    plugin: Plugin
    part: Spec | None
    place: str

    def __str__(self) -> str:
        """Name plugin, part and place: "plugin 'rings' (sensorium-rings 0.3.1), encoder 'mlp' (rings/mlp.py:31)"."""
        part = f", {self.part.what}" if self.part else ""
        return f"{self.plugin.label}{part} ({self.place})"


def blame(error: BaseException, extensions: Extensions) -> Blame | None:
    """Return the innermost line of code of a third-party plugin, or of the session, that an exception went through.

    Args:
        error: of an exception that was raised from another, the first is looked at. One that another process raised
            has the text of its traceback in its message.
        extensions: the plugins.

    Returns:
        None where no plugin takes part; and for a `SensoriumError` that a plugin raised itself, which is no defect.
    """
    outside = extensions.third_party()
    roots = {plugin.name: _roots(plugin, extensions) for plugin in outside}
    if isinstance(error, SensoriumError) and _is_meant(error, roots.values()):
        return None
    frames = [frame for traceback in _tracebacks(error) for frame in traceback]
    for position, frame in reversed(list(enumerate(frames))):
        for plugin in outside:
            place = _place(frame, roots[plugin.name])
            if place is None and plugin.name == SESSION:
                place = f"{frame.path}:{frame.line}" if _part(frame, plugin, extensions) else None
            if place is not None:
                inward = frames[position::-1]
                part = next((spec for one in inward if (spec := _part(one, plugin, extensions))), None)
                return Blame(plugin, part, place)
    return None


P = ParamSpec("P")
R = TypeVar("R")


def naming_plugins(function: Callable[P, R]) -> Callable[P, R]:
    """Add to each exception that leaves a function a note that says which plugin it comes from."""

    @wraps(function)
    def noting(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            given = kwargs.get("extensions")
            found = blame(error, given if isinstance(given, Extensions) else load_extensions())
            if found and f"It comes from {found}." not in getattr(error, "__notes__", ()):
                error.add_note(f"It comes from {found}.")
            raise

    return noting


def said(error: BaseException) -> str:
    """Return an exception's message on one line, without a full stop; of another process's traceback its last line."""
    text = str(error)
    if _FRAME_IN_TEXT.search(text):
        text = text.rstrip().splitlines()[-1].partition(": ")[2]
    return " ".join(text.split()).rstrip(".")


def _is_meant(error: SensoriumError, roots: Iterable[set[Path]]) -> bool:
    """Whether an error is the sentence of whoever raised it: not one that reports an exception of a plugin."""
    own, *causes = _tracebacks(error)
    return not causes or any(_place(own[-1], of_one) for of_one in roots if own)


def _tracebacks(error: BaseException) -> list[list[Frame]]:
    """Return the frames of an exception, outermost first, then those of what it was raised from, and so on."""
    found = [[Frame(f.f_code.co_filename, line, _owner(f)) for f, line in walk_tb(error.__traceback__)]]
    for text in (str(error), *getattr(error, "__notes__", ())):
        if told := [[Frame(p, int(n)) for p, n, _ in _FRAME_IN_TEXT.findall(one)] for one in text.split(_CAUSED)]:
            found += told[::-1]
    if error.__cause__ is not None:
        found += _tracebacks(error.__cause__)
    return [frames for frames in found if frames]


def _owner(frame: FrameType) -> type | None:
    return type(frame.f_locals["self"]) if "self" in frame.f_locals else None


def _roots(plugin: Plugin, extensions: Extensions) -> set[Path]:
    """Return the folders of a plugin's packages, and the files of its modules that are in no package."""
    modules = {plugin.module} | {spec.origin for spec in _specs(plugin, extensions)}
    roots = set()
    for name in {target.partition(":")[0] for target in modules}:
        top, module = sys.modules.get(name.partition(".")[0]), sys.modules.get(name)
        if plugin.name == SESSION or top is None:
            continue
        if getattr(top, "__file__", None) and hasattr(top, "__path__"):
            roots |= set(map(Path, top.__path__))
        elif module is not None and getattr(module, "__file__", None):
            file = Path(str(module.__file__))
            roots.add(file if module is top else file.parent)
    return roots


def _place(frame: Frame, roots: set[Path]) -> str | None:
    path = Path(frame.path)
    for root in roots:
        if path.is_relative_to(root):
            return f"{path.relative_to(root.parent)}:{frame.line}"
    return None


def _specs(plugin: Plugin, extensions: Extensions) -> list[Spec]:
    return [
        spec
        for kind in plugin.registered
        for spec in extensions.registry.specs(kind)
        if spec.plugin == plugin.name and spec.distribution == plugin.distribution
    ]


def _part(frame: Frame, plugin: Plugin, extensions: Extensions) -> Spec | None:
    """Return the registered part whose code a frame is in, if there is one and it has been imported."""
    found = []
    for spec in _specs(plugin, extensions):
        target: Any = spec.target
        if isinstance(target, str):
            module, _, attribute = target.partition(":")
            target = getattr(sys.modules.get(module), attribute, None)
        if target is not None and any(_spans(code, frame) for code in _codes(target)):
            if target is frame.owner:
                return spec
            found.append(spec)
    return found[0] if len(found) == 1 else None


def _codes(target: Any) -> Iterator[CodeType]:
    """Iterate over the code of a function, or of the methods of a class and its bases."""
    members = [vars(base) for base in target.__mro__] if isinstance(target, type) else [{"": target}]
    for member in (member for of_class in members for member in of_class.values()):
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if isinstance(code := getattr(function, "__code__", None), CodeType):
            yield code


def _spans(code: CodeType, frame: Frame) -> bool:
    return code.co_filename == frame.path and code.co_firstlineno <= frame.line <= _last_line(code)


def _last_line(code: CodeType) -> int:
    inner = [_last_line(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return max([code.co_firstlineno, *inner, *(line for *_, line in code.co_lines() if line is not None)])
