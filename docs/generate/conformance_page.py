"""The page of the conformance kit: every check, by kind, with what it asks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from sensorium.registration.registry import SINGULAR
from sensorium.testing import plugin_module, registrations
from sensorium.testing.kit import CHECKS_BY_KIND

INTRODUCTION = """# Conformance kit

`sensorium plugin check NAME` runs these checks on everything that a plugin registers; `--only TEXT` runs those whose
names contain a text, `--json` prints them for programs. In a test they are three lines, see
[Write a plugin](../how-to/write-a-plugin.md). A check that fails says what was seen and what to write instead. One that
does not apply is skipped, with the reason.

The checks ask what a plugin's own tests seldom ask: whether two ranks train as one process does, whether a training
that is resumed is the one that stopped, whether an evaluator reads the test part. Each is itself tested
against parts with one
fault, `tests/core/testing/mutants`. Why these, and what the kit cannot see:
[What the kit catches](../decisions/0028-what-the-kit-catches.md).
"""


def conformance_page() -> str:
    """Return the page."""
    parts = [INTRODUCTION, _section("A plugin", plugin_module.CHECKS)]
    parts.append(_section("Every registration", registrations.checks_for("encoders")))
    for kind, checks in CHECKS_BY_KIND.items():
        word = SINGULAR[kind]
        parts.append(_section(f"{'An' if word[0] in 'aeiou' else 'A'} {word}", checks))
    return "\n".join(parts)


def _section(title: str, checks: Iterable[Callable[..., Any]]) -> str:
    rows = [f"| {check.__name__.replace('_', ' ')} | {_what(check)} |" for check in checks]
    return "\n".join([f"## {title}", "", "| check | what it asks |", "| --- | --- |", *rows, ""])


def _what(check: Callable[..., Any]) -> str:
    """Return the docstring of a check as one line."""
    return " ".join((inspect.getdoc(check) or "").split()).replace("|", "\\|")
