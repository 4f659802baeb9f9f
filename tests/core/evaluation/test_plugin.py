"""Registration: light, and in step with the files."""

from __future__ import annotations

import inspect
import subprocess
import sys

from sensorium.contracts import Evaluator
from sensorium.evaluation import plugin
from sensorium.registration.options import options_of
from sensorium.registration.registry import Register


def registered():
    register = Register("evaluators", "evaluators", "sensorium")
    plugin.sensorium_register_evaluators(register=register)
    return register.specs


def test_names_are_file_names_and_every_option_has_help():
    for spec in registered():
        made = spec.load()
        assert made.__module__.rpartition(".")[2] == spec.name.replace("-", "_")
        assert issubclass(made, Evaluator)
        assert all(option.help for option in options_of(made)), spec.name
        assert inspect.getdoc(made)


def test_registering_imports_nothing_heavy():
    code = (
        "import sys, sensorium.evaluation.plugin as p; from sensorium.registration.registry import Register;"
        "p.sensorium_register_evaluators(register=Register('evaluators', 'e', 'd'));"
        "assert not {'torch', 'numpy', 'sklearn', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
