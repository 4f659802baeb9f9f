"""The project that `sensorium plugin new` writes, for each kind of part: a working example that a stranger can grow.

In `templates/`, `project/` is what all have in common, `parts/` has the part of each kind, `uses/` a test that uses it.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

import sensorium
from sensorium.errors import PluginError
from sensorium.registration.registry import SINGULAR, WORDS, kind_named, with_article


@dataclass(frozen=True)
class Example:
    """What the template of one kind is.

    Args:
        summary: one line for listings.
        usage: how it is asked for, as Markdown; `NAME` stands for its name.
        belongs: the modality that an encoder or a view generator belongs to.
        declares: what else the registration module says.
    """

    summary: str
    usage: str
    belongs: str = ""
    declares: str = ""


def _in_recipe(lines: str) -> str:
    return f"```yaml\n{lines}\n```"


EXAMPLES = {
    "objective": Example("alignment and uniformity of two views", _in_recipe("objective: {name: NAME}")),
    "modality": Example(
        "vectors of one length",
        _in_recipe("modalities:\n  NAME: {encoder: {name: mlp, dim: 64}, views: noise}"),
    ),
    "encoder": Example(
        "deep averaging network",
        _in_recipe("modalities:\n  text: {encoder: {name: NAME, dim: 128}, views: dropout}"),
        belongs="text",
    ),
    "view": Example(
        "images moved by some pixels",
        _in_recipe("modalities:\n  image: {encoder: cnn, views: {name: NAME, shift: 0.2}}"),
        belongs="image",
    ),
    "source": Example(
        "rows of a table in an SQLite file",
        _in_recipe("data:\n  source: {name: NAME, path: my.sqlite, table: sentences, values: [text]}"),
        declares="# With which options `sensorium plugin check` builds it.\n"
        'sensorium_options = {"sources/NAME": "MODULE.source:example"}\n',
    ),
    "split": Example(
        "whole classes are held out",
        _in_recipe("data:\n  split: {name: NAME, label: class}"),
        declares="# With which options `sensorium plugin check` builds it, on records with the label number.\n"
        'sensorium_options = {"splits/NAME": {"label": "number"}}\n',
    ),
    "tokenizer": Example(
        "words and punctuation marks",
        _in_recipe(
            "modalities:\n  text: {modality: {name: text, tokenizer: NAME}, encoder: transformer, views: dropout}"
        ),
    ),
    "optimizer": Example("Lion", _in_recipe("optimizer: {name: NAME, lr: 3.0e-4, weight_decay: 0.3}")),
    "schedule": Example(
        "cosine with warm restarts", _in_recipe("optimizer:\n  schedule: {name: NAME, cycles: 4, decay: 0.7}")
    ),
    "callback": Example(
        "a training ends when it is good enough",
        _in_recipe("evaluate: {every: 1}\ncallbacks:\n  NAME: {metric: knn/accuracy, goal: 0.9}"),
    ),
    "logger": Example("metrics in an SQLite file", _in_recipe("log:\n  loggers:\n    NAME: {path: metrics.sqlite}")),
    "evaluator": Example(
        "classification by the nearest centroid",
        _in_recipe("evaluate:\n  evaluators:\n    NAME: {label: class}"),
    ),
    "protocol": Example(
        "the bootstrap",
        _in_recipe("evaluate:\n  evaluators:\n    knn: {label: class, protocol: {name: NAME, repeats: 10}}"),
    ),
    "task": Example(
        "regression of labels that have outliers",
        _in_recipe("finetune:\n  task: {name: NAME, delta: 0.5}\n  labels: [height]"),
    ),
    "exporter": Example("weights as NumPy arrays", "```sh\nsensorium export RUN FOLDER --format NAME\n```"),
    "recipe": Example("GraphCL on the nodes of a graph", "```sh\nsensorium train NAME\n```"),
    "command": Example("where a run's parameters are", "```sh\nsensorium NAME RUN\n```"),
}
"""The word for one of a kind -> what its template is."""


def write_project(name: str, folder: Path, kind: str) -> None:
    """Write an installable plugin project.

    Args:
        name: of the plugin, its distribution and its part, such as "my-objective".
        folder: new or empty.
        kind: the word for what it registers, such as "objective".

    Raises:
        PluginError: when there is no such kind, the name cannot be that of a plugin, or the folder is not empty.
    """
    kind = WORDS[kind_named(kind)]
    _check_name(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PluginError(f"{folder} is not empty: name a new folder.")
    words = _words(name, kind)
    for template, path in _paths(kind, words).items():
        text = (files("sensorium.cli") / "templates" / template).read_text(encoding="utf-8")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template(text).substitute(words), encoding="utf-8")


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise PluginError(
            f"'{name}' is not a valid plugin name: use lower-case letters and digits in words joined by '-'."
        )
    module = name.replace("-", "_")
    found = find_spec(module)
    is_package = found is not None and found.origin is not None  # a folder of that name is none
    if keyword.iskeyword(module) or is_package or _class_of(name) in sensorium.__all__:
        raise PluginError(f"'{name}' is taken, as a word of Python or of a package: choose another, such as my-{name}.")


def _class_of(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("-"))


def _words(name: str, kind: str) -> dict[str, str]:
    """Return what stands for the words of the templates."""
    example, module, kinds = EXAMPLES[kind], name.replace("-", "_"), kind_named(kind)
    is_data, is_function = kind == "recipe", kind in ("command", "optimizer")
    words = {
        "name": name,
        "module": module,
        "Class": _class_of(name),
        "function": module,
        "kind": SINGULAR[kinds],
        "kinds": kinds,
        "A_kind": with_article(kinds).capitalize(),
        "api": f">={sensorium.API_VERSION},<{int(sensorium.API_VERSION.partition('.')[0]) + 1}",
        "summary": example.summary,
        "file": f"{module}/{name}.yaml" if is_data else f"{module}/{kind}.py",
        "target": f"{module}:{name}.yaml"
        if is_data
        else f"{module}.{kind}:{module if is_function else _class_of(name)}",
        "belongs": f'\n        modality="{example.belongs}",' if example.belongs else "",
        "data": f'\n[tool.setuptools.package-data]\n{module} = ["*.yaml"]\n' if is_data else "",
    }
    named = {"usage": example.usage, "declares": example.declares}
    return words | {key: text.replace("NAME", name).replace("MODULE", module) for key, text in named.items()}


def _paths(kind: str, words: dict[str, str]) -> dict[str, str]:
    """Return template -> path in the project."""
    module = words["module"]
    registration = "registration_of_modality" if kind == "modality" else "registration"
    return {
        "project/pyproject.toml.tmpl": "pyproject.toml",
        "project/README.md.tmpl": "README.md",
        f"project/{registration}.py.tmpl": f"{module}/__init__.py",
        "project/test_conformance.py.tmpl": f"tests/test_{module}.py",
        f"uses/{kind}.py.tmpl": f"tests/test_{module}_in_use.py",
        f"parts/{kind}.{'yaml' if kind == 'recipe' else 'py'}.tmpl": words["file"],
    }
