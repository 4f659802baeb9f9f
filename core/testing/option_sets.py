"""The sets of constructor options that a part is checked with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.registration.discovery import declared_value

OptionSet = Mapping[str, Any]
"""Constructor options of one part, by name."""
OptionSets = Mapping[str, OptionSet | Sequence[OptionSet | str] | str]
"""By "kind/name", one set, or a list of several; "module:attribute" strings name these, or a function."""


def sets_of(value: OptionSet | Sequence[OptionSet | str] | str) -> list[OptionSet]:
    """Return the sets that one entry of `OptionSets` gives, at least one."""
    value = declared_value(value) if isinstance(value, str) else value
    return [value] if isinstance(value, Mapping) else [declared_value(one) for one in value] or [{}]


def shown(options: OptionSet, number: int) -> str:
    """Return a set as the names of its checks say it: its options, or its number in the list where these are long."""
    text = ", ".join(f"{name}={value}" for name, value in options.items()) or "defaults"
    return f"[{text}]" if len(text) <= 60 else f"[options {number}]"
