"""Checks of a plugin's module: what its import and its hooks do to a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

from sensorium.registration.discovery import Plugin
from sensorium.testing.checked_part import expect

HEAVY = ("torch", "numpy", "PIL", "transformers", "timm", "sklearn", "pandas", "scipy", "pydantic")
"""Packages that a plugin's module may not import, since every command imports the module."""
SECONDS = 0.3
"""What import and hooks may take beyond `import sensorium`: every command waits for them."""
PROCESSES = 3
"""The fastest of as many processes counts."""
_CODE = """
import json, logging, os, random, sys, threading, time, warnings
sys.path[:] = {path!r}
import sensorium.registration.discovery as discovery

def state():
    root = logging.getLogger()
    return {{
        "the random numbers of Python": hash(random.getstate()),
        "environment variables": dict(os.environ),
        "the working folder": os.getcwd(),
        "the filters of warnings": [str(one) for one in warnings.filters],
        "the root logger": [root.level, [str(one) for one in root.handlers]],
        "threads": [one.name for one in threading.enumerate()],
        "sys.excepthook": repr(sys.excepthook),
        "the standard output": repr(sys.stdout),
    }}

registry = discovery.Registry()
plugin = discovery.Plugin({name!r}, {module!r}, "checked", "0")
before, start = state(), time.perf_counter()
module = plugin.load()
imported = [name for name in {heavy!r} if name in sys.modules]
discovery._register(plugin, module, [])
seconds = time.perf_counter() - start
in_hooks = [name for name in {heavy!r} if name in sys.modules and name not in imported]
changed = [name for name, value in state().items() if value != before[name]]
print("\\n" + json.dumps(dict(imported=imported, in_hooks=in_hooks, seconds=seconds, changed=changed)))
"""


def _loaded(plugin: Plugin, number: int = 0) -> dict[str, Any]:
    """Return what loading the plugin does in a new process, and what it prints; a process for each number."""
    return _load(plugin.name, plugin.module, tuple(sys.path), number)


@cache
def _load(name: str, module: str, path: tuple[str, ...], number: int) -> dict[str, Any]:
    code = _CODE.format(path=list(path), name=name, module=module, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"its module cannot be imported by itself: {done.stderr.strip()[-300:]}")
    printed, _, found = done.stdout.rstrip().rpartition("\n")
    return json.loads(found) | {"printed": (printed + done.stderr).strip()}


def registers_without_heavy_imports(plugin: Plugin) -> None:
    """Neither the module nor its hooks import torch, numpy or another large package."""
    found = _loaded(plugin)
    heavy = found["imported"]
    expect(not heavy, f"its module imports {', '.join(heavy)}; name targets as strings and import them there")
    heavy = found["in_hooks"]
    expect(not heavy, f"its hooks import {', '.join(heavy)}; name targets as strings, which are imported at first use")


def registers_without_side_effects(plugin: Plugin) -> None:
    """Loading it prints nothing, seeds nothing and leaves the process as it is."""
    found = _loaded(plugin)
    expect(
        not found["printed"], f"it prints while it is loaded: {found['printed'][:80]!r}; every --json would end up so"
    )
    expect(
        not found["changed"],
        f"loading it changes {', '.join(found['changed'])}: do such things where a part is built, not at import",
    )


def registers_quickly(plugin: Plugin) -> None:
    """Import and hooks take at most 0.3 seconds."""
    seconds = [_loaded(plugin)["seconds"]]
    while min(seconds) > SECONDS and len(seconds) < PROCESSES:
        seconds.append(_loaded(plugin, len(seconds))["seconds"])
    expect(
        min(seconds) <= SECONDS,
        f"its import and hooks take {min(seconds):.1f} seconds, for which every command waits: import at first use",
    )


CHECKS = (registers_without_heavy_imports, registers_without_side_effects, registers_quickly)
