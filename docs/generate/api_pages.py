"""The pages of public Python names: whole docstrings, with every method and argument."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any, get_origin

from pydantic import BaseModel

import sensorium
from docs.generate.markdown import cell, docstring, escaped, first_sentence, signature, table

PAGES = {
    "running": ("Running", "What a script calls: train, evaluate, fine-tune, embed, search, mine, export."),
    "own-loop": ("A loop of your own", "Views, learner, gradient caching and collective operations in plain PyTorch."),
    "data-types": ("Data types", "What travels between the parts of a training."),
    "contracts": ("Contracts", "What a plugin writes: the abstract classes, and what they are handed."),
    "losses": ("Losses", "Pure functions on tensors."),
    "building-blocks": ("Building blocks", "Heads, teachers, queues, masks, the joint embedding space."),
    "errors": ("Errors", "What is raised, and how options are checked."),
}
"""Names of the pages, their titles and what stands on them."""
HOMES = {
    "sensorium.api": "running",
    "sensorium.embeddings": "running",
    "sensorium.recipe": "running",
    "sensorium.sklearn": "running",
    "sensorium.models": "running",
    "sensorium.models.learner": "own-loop",
    "sensorium.training.gradient_cache": "own-loop",
    "sensorium.collectives": "own-loop",
    "sensorium.batch_norm": "own-loop",
    "sensorium.views": "own-loop",
    "sensorium.weights": "own-loop",
    "sensorium.types": "data-types",
    "sensorium.contracts": "contracts",
    "sensorium.feature_table": "contracts",
    "sensorium.exporters": "contracts",
    "sensorium.registration.hookspecs": "contracts",
    "sensorium.data": "contracts",
    "sensorium.losses": "losses",
    "sensorium.errors": "errors",
    "sensorium.registration": "errors",
}
"""The page of each module's names, the longest prefix first; all others are building blocks."""
ALSO = [
    ("sensorium.types", "RecordBatch"),
    ("sensorium.contracts", "Encode"),
    ("sensorium.feature_table", "FeatureTable"),
    ("sensorium.models.model", "Model"),
    ("sensorium.models.plan", "Plan"),
    ("sensorium.models.plain_parts", "ModuleEncoder"),
    ("sensorium.models.plain_parts", "TokenModuleEncoder"),
    ("sensorium.models.plain_parts", "FunctionViews"),
]
"""What public functions take or return, without a name in `sensorium` itself."""


def api_pages() -> dict[str, str]:
    """Return the text of the index and of every page, by path below `reference/`."""
    written: dict[str, list[str]] = {name: [] for name in PAGES}
    listed: dict[str, list[tuple[str, str]]] = {name: [] for name in PAGES}
    for home, name in all_names():
        page = _page_of(home)
        written[page].append(_entry(home, name))
        listed[page].append((name, _summary(home, name)))
        if name in sensorium._MODULES:
            module = import_module(home)
            within = [(key, getattr(module, key)) for key in _names(module)]
            listed[page] += [
                (f"{name}.{key}", _alias(module, key)[1] if get_origin(thing) else first_sentence(thing))
                for key, thing in within
                if callable(thing)
            ]
    out = {"api.md": _index(listed)}
    for name, (title, summary) in PAGES.items():
        out[f"api/{name}.md"] = f"# {title}\n\n{summary} [All names](../api.md).\n" + "".join(written[name])
    return out


def public_names() -> list[tuple[str, str]]:
    """Return the home and the name of everything public, but for the two version numbers."""
    return [(home, name) for name, home in sensorium._HOME.items()]


def all_names() -> list[tuple[str, str]]:
    """Return the home and the name of everything that has an entry."""
    public = public_names()
    return [*public, *((home, name) for home, name in ALSO if name not in dict(map(reversed, public)))]


def _page_of(home: str) -> str:
    fitting = [prefix for prefix in HOMES if home == prefix or home.startswith(f"{prefix}.")]
    return HOMES[max(fitting, key=len)] if fitting else "building-blocks"


def _index(listed: dict[str, list[tuple[str, str]]]) -> str:
    out = """# Python API

`import sensorium` imports no torch; each name is loaded at first use. Names that are not listed here are not public.

Letters in shapes: B records in a batch, T tokens or time steps, C channels, H and W height and width, D features, N
rows of any kind.

`sensorium.__version__` is the version. `sensorium.API_VERSION` is the version of the plugin contract: what is
added raises its minor number, what breaks plugins its major one ([versions](versions.md)).
"""
    for page, names in listed.items():
        title, summary = PAGES[page]
        rows = [(f"[`{name}`](api/{page}.md#{_anchor(name)})", cell(text)) for name, text in names]
        out += f"\n## {title}\n\n{summary}\n\n{table(('name', 'summary'), rows)}"
    return out


def _anchor(name: str) -> str:
    return re.sub(r"[^\w\- ]", "", name).strip().lower()


def _thing(home: str, name: str) -> Any:
    module = import_module(home)
    return module if name in sensorium._MODULES else getattr(module, name)


def _summary(home: str, name: str) -> str:
    if name == "hookimpl":
        return "marks a function as the implementation of a hook"
    thing = _thing(home, name)
    return _alias(import_module(home), name)[1] if get_origin(thing) else first_sentence(thing)


def _entry(home: str, name: str) -> str:
    """Return the section of one name."""
    if name == "hookimpl":
        return "\n## `hookimpl`\n\nMarks a function as the implementation of a hook; see [Hooks](../hooks.md).\n"
    thing = _thing(home, name)
    if name in sensorium._MODULES:
        return _module(name, thing)
    origin = "" if name in sensorium.__all__ else f"From `{home}`."
    if get_origin(thing):
        made, text = _alias(import_module(home), name)
        return _section("##", name, origin, f"```python\n{made}\n```", text)
    members = "".join(_members(thing, "###")) if inspect.isclass(thing) else ""
    return _section("##", name, origin, _call(thing), docstring(thing), members.strip())


def _module(name: str, module: Any) -> str:
    """Return a section for a public module, and one for each function and class in it."""
    out = _section("##", name, docstring(module))
    for key in _names(module):
        thing = getattr(module, key)
        if get_origin(thing):
            made, text = _alias(module, key)
            out += _section("###", f"{name}.{key}", f"```python\n{made}\n```", text)
        elif callable(thing):
            members = "".join(_members(thing, "####")).strip() if inspect.isclass(thing) else ""
            out += _section("###", f"{name}.{key}", _call(thing), docstring(thing), members)
    return out


def _alias(module: Any, key: str) -> tuple[str, str]:
    """Return the line that makes a type alias, in a module or one inside it, and the string below that explains it."""
    for name in sorted(n for n in sys.modules if n.startswith(module.__name__)):
        found = re.search(rf'^({key} = .+)\n"""(.+?)"""', inspect.getsource(sys.modules[name]), flags=re.MULTILINE)
        if found:
            return found[1], escaped(found[2])
    raise ValueError(f"no string explains {module.__name__}.{key}")


def _names(module: Any) -> list[str]:
    """Return the public names that a module says it has, or else those that are made in it."""
    own = (key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__)
    return getattr(module, "__all__", None) or [key for key in own if not key.startswith("_")]


def _section(level: str, name: str, *blocks: str) -> str:
    return "\n" + "\n\n".join([f"{level} `{name}`", *(block for block in blocks if block)]) + "\n"


def _call(thing: Any) -> str:
    """Return the signature; what nobody constructs himself has none."""
    if inspect.isclass(thing) and (inspect.isabstract(thing) or issubclass(thing, BaseModel | Exception)):
        return ""
    return signature(thing, thing.__name__)


def _members(cls: type, level: str) -> Iterator[str]:
    """Yield a section for each documented method and property of a class, in its own order, attributes first."""
    if attributes := _attributes(cls):
        rows = [(f"`{name}`", cell(text)) for name, text in attributes.items()]
        yield "\n" + table(("attribute", "meaning"), rows)
    for name, member in vars(cls).items():
        if name.startswith(("_", "model_")) and name != "__call__":
            continue
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        title = f"{cls.__name__}.{name}" if name != "__call__" else f"{cls.__name__}.__call__"
        if isinstance(member, property):
            yield _section(level, title, "Property.", docstring(member.fget))
        elif inspect.isfunction(function) and function.__doc__:
            yield _section(level, title, signature(function, name), docstring(function))


def _attributes(cls: type) -> dict[str, str]:
    """Return the class attributes that a string below them explains."""
    if "sensorium" not in cls.__module__:
        return {}
    pattern = r'^    (\w+): [^\n]+\n    """(.+?)"""'
    found = re.findall(pattern, inspect.getsource(cls), flags=re.MULTILINE | re.DOTALL)
    return {name: escaped(re.sub(r"\s+", " ", text)) for name, text in found}
