"""The conformance kit as tests run it, and what a registration may import."""

import subprocess
import sys

from sensorium.registration.discovery import load_extensions
from sensorium.testing import check_plugin


def passed(plugin, options=None, besides=(), samples=None, only=""):
    """Return how many of the kit's checks of a plugin passed, when none failed but those whose names so begin."""
    rows = list(check_plugin(plugin, load_extensions({}, []), samples, options, only))
    failed = {row.name: row.reason for row in rows if row.status == "failed"}
    assert {name: reason for name, reason in failed.items() if not name.startswith(tuple(besides))} == {}
    return sum(row.status == "passed" for row in rows)


def heavy_imports(module, names):
    """Return which of these modules the import of a registration module brings along."""
    code = f"import sys, {module}; print(*[name for name in {names!r} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return out.stdout.split()
