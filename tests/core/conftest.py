"""A folder of installed distributions, written by hand, for tests of plugins."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from textwrap import dedent

import pytest

from sensorium.registration.discovery import forget_extensions

OBJECTIVE = """
from sensorium import hookimpl

@hookimpl
def sensorium_register_objectives(register):
    register("{name}", "{module}.made:Made", summary="made for a test")
"""


class Site:
    """Where distributions are installed; on `sys.path` while the test runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.installed: set[str] = set()

    def install(
        self, distribution: str, entry: str, body: str, version: str = "1.0", module: str | None = None, **files: str
    ) -> None:
        """Write a distribution with one plugin: `body` is the `__init__` of its package, `files` its modules."""
        module = module or distribution.replace("-", "_")
        package = self.path / module
        package.mkdir()
        (package / "__init__.py").write_text(dedent(body))
        for name, text in files.items():
            (package / f"{name}.py").write_text(dedent(text))
        self.describe(distribution, f"[sensorium]\n{entry} = {module}\n", version)
        self.installed.add(module)

    def describe(self, distribution: str, entry_points: str, version: str = "1.0") -> None:
        """Write the metadata of a distribution."""
        forget_extensions()
        info = self.path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(entry_points)

    def found(self) -> list[EntryPoint]:
        """Return the entry points that are installed here."""
        points = (p for d in distributions(path=[str(self.path)]) for p in d.entry_points.select(group="sensorium"))
        return list(points)

    def forget(self) -> None:
        """Drop the modules that tests imported from here."""
        for name in list(sys.modules):
            if name.partition(".")[0] in self.installed:
                del sys.modules[name]


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    made = Site(folder)
    yield made
    made.forget()


@pytest.fixture
def objective_body():
    """Return the text of a module that registers one objective."""
    return lambda name, module: OBJECTIVE.format(name=name, module=module)
