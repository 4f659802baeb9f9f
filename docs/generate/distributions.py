"""The distributions under `tests/distributions/`, as if they were installed."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from sensorium.registration.discovery import GROUP, Extensions, load_extensions

FOLDER = Path(__file__).parents[2] / "tests" / "distributions"


@dataclass(frozen=True)
class Distribution:
    """One project of its own.

    Args:
        folder: its folder.
    """

    folder: Path

    @property
    def project(self) -> dict[str, Any]:
        """The table `project` of its pyproject.toml."""
        return tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    @property
    def name(self) -> str:
        """Its name, and that of its plugin."""
        return self.project["name"]

    @property
    def package(self) -> Path:
        """The folder of its package."""
        return self.folder / self.name.replace("-", "_")

    def files(self) -> list[Path]:
        """Return the Python files of its package."""
        return sorted(self.package.rglob("*.py"))

    def lines(self) -> int:
        """Return how many lines of Python its package has, blank ones aside."""
        return sum(
            bool(line.strip()) for file in self.files() for line in file.read_text(encoding="utf-8").splitlines()
        )


def distributions() -> list[Distribution]:
    """Return all of them, by name."""
    return [Distribution(path.parent) for path in sorted(FOLDER.glob("*/pyproject.toml"))]


@cache
def extensions() -> Extensions:
    """Return the built-in plugins and those of all distributions, which are importable from then on."""
    found = []
    for one in distributions():
        sys.path.append(str(one.folder))
        found += [EntryPoint(name, target, GROUP) for name, target in one.project["entry-points"][GROUP].items()]
    return load_extensions({}, found)
