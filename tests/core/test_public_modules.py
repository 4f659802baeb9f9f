"""Public modules are imported by any statement that Python has, and cost nothing before."""

import subprocess
import sys

import pytest

import sensorium


@pytest.mark.parametrize("name", sensorium._MODULES)
def test_a_public_module_is_found_by_every_import(name):
    code = f"import sensorium.{name}; from sensorium import {name} as one; assert one is sensorium.{name}"
    own = f"from sensorium.{name} import *; assert set(sensorium.{name}.__all__) <= set(dir())"
    done = subprocess.run([sys.executable, "-c", f"{code}; {own}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_public_modules_are_loaded_at_first_use():
    code = "import sys, sensorium; assert 'torch' not in sys.modules; sensorium.losses.nt_xent"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
