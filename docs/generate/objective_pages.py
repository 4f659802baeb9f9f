"""A page for each objective: what its class, its registration, its recipes and the matrix say, and its formula."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from docs.generate import matrix_rows
from docs.generate.markdown import about, cell, option_table, table
from sensorium import losses
from sensorium.recipe import read_recipe
from sensorium.recipe.schema import Recipe
from sensorium.registration.discovery import Extensions, load_extensions
from sensorium.registration.options import Option, options_of
from sensorium.registration.registry import Spec

WORDS = tomllib.loads((Path(__file__).parent / "objectives.toml").read_text(encoding="utf-8"))
"""What no code says, by objective: the formula of the loss, what its letters mean, when to take another objective."""
NUMBERS = {1: "one view", 2: "two views"}


def objective_pages() -> dict[str, str]:
    """Return the text of the list of objectives and of each one's page, by file name."""
    extensions = load_extensions({}, [])
    specs = list(extensions.registry.specs("objectives"))
    return {"index.md": _index(extensions, specs), **{f"{spec.name}.md": _page(extensions, spec) for spec in specs}}


@cache
def shipped() -> dict[str, tuple[Spec, Recipe]]:
    """Return the shipped recipes by name, with their registrations."""
    registry = load_extensions({}, []).registry
    return {spec.name: (spec, read_recipe(spec.name, registry)) for spec in registry.specs("recipes")}


def modality_names(recipe: Recipe) -> list[str]:
    """Return the registered names of a recipe's modalities, each once."""
    return list(dict.fromkeys(t.modality.name if t.modality else key for key, t in recipe.modalities.items()))


def _index(extensions: Extensions, specs: list[Spec]) -> str:
    out = """# Objectives

An objective owns heads, teachers and queues, and turns views into a loss. It is written against views and features and
names no modality: [the matrix](../benchmarks/matrix.md) trains each of them on every kind of data that can serve it.
`sensorium list objectives NAME` prints the options of one.
"""
    plugins = dict.fromkeys(spec.plugin for spec in specs)
    for name in plugins:
        summary = inspect.getdoc(import_module(extensions.find(name).module)) or ""
        rows = [
            (f"[{WORDS.get(s.name, {}).get('title', s.name)}]({s.name}.md)", f"`{s.name}`", cell(s.summary))
            for s in specs
            if s.plugin == name
        ]
        listed = table(("objective", "name", "summary"), rows)
        out += f"\n## {name.capitalize()}\n\n{summary.partition(chr(10))[0]}\n\n{listed}"
    return out


def _page(extensions: Extensions, spec: Spec) -> str:
    target, words = spec.load(), WORDS.get(spec.name, {})
    options = options_of(target)
    sections = [
        ("Loss", _loss(target, words)),
        ("What it needs", _needs(target, options)),
        ("Options", _options(options)),
        ("Recipes", _recipes(spec.name)),
        ("In the matrix", _matrix(spec.name)),
        ("When to take another", words.get("otherwise", "").strip()),
    ]
    where = f"Objective `{spec.name}`, plugin `{spec.plugin}`, class `{target.__module__}.{target.__qualname__}`."
    head = f"# {words.get('title', spec.name)}\n\n{about(target)}\n\n{where}\n"
    return head + "".join(f"\n## {title}\n\n{text.rstrip()}\n" for title, text in sections if text)


def _loss(target: type, words: dict[str, str]) -> str:
    blocks = []
    if "formula" in words:
        blocks += [f"```math\n{words['formula'].strip()}\n```", words["letters"].strip()]
    called = re.findall(r"\blosses\.(\w+)\(", "".join(_sources(target)))
    names = [name for name in dict.fromkeys(called) if name in losses.__all__]
    if names:
        links = ", ".join(f"[`losses.{name}`](../reference/api/losses.md#losses{name})" for name in names)
        blocks.append(f"Functions: {links}.")
    return "\n\n".join(blocks)


def _sources(target: type) -> Iterator[str]:
    """Yield the source of a class and of those of its bases that are objectives of a plugin."""
    for one in inspect.getmro(target):
        if one.__module__.startswith("sensorium.plugins."):
            yield inspect.getsource(one)


def _needs(target: Any, options: list[Option]) -> str:
    needs = target.needs
    views = NUMBERS.get(needs.views, f"{needs.views} views")
    views += " or more" if needs.multicrop else ""
    if needs.negative_views:
        views += "; views of negatives (`data.negatives`, corrupted captions) are used where there are some"
    modalities = {"one": "one", "many": "two or more, paired"}.get(needs.modalities, f"{needs.modalities}, paired")
    rows = [
        ("views of each record", views),
        ("modalities", modalities),
        ("encoder", "a token encoder (`TokenEncoder`)" if needs.tokens else "any (`Encoder`)"),
    ]
    if needs.target:
        kinds = "any class of each record or token" if needs.target == "class" else f"`{needs.target}`"
        rows.append(("target of the views", kinds))
    if needs.info:
        rows.append(("`View.info`", f"`{needs.info}`, used where views have it"))
    auto = [f"`{option.name}`" for option in options if option.default == "auto"]
    if auto:
        rows.append(("chosen from the size of the training", ", ".join(auto)))
    return table(("what", "which"), rows)


def _options(options: list[Option]) -> str:
    if not options:
        return "It has no options."
    out = option_table(options)
    for option in options:
        if option.suboptions:
            out += f"\n### Options of `{option.name}`\n\n{option_table(option.suboptions)}"
    return out


def _recipes(name: str) -> str:
    rows = []
    for recipe, (spec, content) in shipped().items():
        if any(part.name == name for part in content.objectives().values()):
            towers = content.modalities.values()
            rows.append(
                (
                    f"`{recipe}`",
                    ", ".join(f"[{name}](../modalities/{name}.md)" for name in modality_names(content)),
                    ", ".join(f"`{part}`" for t in towers for part in t.generators().values()),
                    ", ".join(f"`{t.encoder.name}`" for t in towers),
                    cell(spec.summary),
                )
            )
    if not rows:
        return ""
    names = [row[0].strip("`") for row in rows]
    command = f"```sh\nsensorium train {name if name in names else names[0]}\n```"
    return f"{command}\n\n{table(('recipe', 'modalities', 'views', 'encoders', 'summary'), rows)}"


def _matrix(name: str) -> str:
    declared = load_extensions({}, []).declared("sensorium_matrix")
    named = {key.partition("/")[2] for key, options in declared.items() if options.get("name") == name}
    found = [c for c in matrix_rows.cells() if c.row.partition(":")[0] == name or c.row in named]
    if not found:
        return ""
    names = list(dict.fromkeys(c.row for c in found))
    rows: dict[str, list[str]] = {}
    for c in found:
        value = f"{c.trained} ({c.untrained})" if not c.reason else "–"
        rows.setdefault(c.column, [_column(c.column), cell(c.metric)]).append(value)
    reasons = dict.fromkeys(c.reason for c in found if c.reason and len(names) == 1)
    return (
        "Metric of the trained encoder and, in brackets, of its own first weights, after a few hundred steps from "
        "scratch;\nbold where training helped. [Data and conditions](../benchmarks/matrix.md).\n\n"
        f"{table(('data', 'metric', *names), rows.values(), tuple(range(2, 2 + len(names))))}"
        + "".join(f"\n– {reason}\n" for reason in reasons)
    )


def _column(name: str) -> str:
    known = load_extensions({}, []).registry.names("modalities")
    return f"[{name}](../modalities/{name}.md)" if name in known else name
