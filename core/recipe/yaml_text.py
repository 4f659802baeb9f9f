"""YAML as recipes are written in it."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from sensorium.errors import RecipeError


class UNSAID:
    """The value of `key:` with nothing behind it: unlike null, it leaves what is inherited alone."""


class _Loader(yaml.SafeLoader):
    """YAML with the floats and booleans of YAML 1.2: 1e-3 is a number, and `off` is a word, as in data.cache=off.

    A key with nothing behind it is `UNSAID`.
    """

    yaml_implicit_resolvers: ClassVar = {  # type: ignore[misc]
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping, in which empty and null differ."""
        values = super().construct_mapping(node, deep)
        for key_node, value_node in node.value:
            if value_node.tag == "tag:yaml.org,2002:null" and not value_node.value:
                values[self.construct_object(key_node)] = UNSAID
        return values


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(\d[\d_]*\.?[\d_]*([eE][-+]?\d+)|\d[\d_]*\.[\d_]*|\.\d[\d_]*([eE][-+]?\d+)?|\.(inf|nan))$",
        re.I,
    ),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$", re.I), list("tTfF"))


def parse_yaml(text: str, origin: str) -> Any:
    """Return the values of a YAML text.

    Raises:
        RecipeError: when it is not YAML, with the line.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the text"
        raise RecipeError(f"{origin} is not YAML: {getattr(error, 'problem', error)} at {where}.") from error


def one_line(value: Any) -> str:
    """Return a value as one line of YAML."""
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6).removesuffix("\n...\n").strip()
    )
