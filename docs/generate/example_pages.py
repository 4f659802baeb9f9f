"""The page of examples: each program, and what it printed."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "examples"
OUTPUTS = FOLDER / "outputs.json"
ORDER = (
    "simclr",
    "byol",
    "mae_on_series",
    "clip_with_caching",
    "own_encoder",
    "own_dataset",
    "hard_negatives",
    "two_ranks",
    "objective_outside",
    "evaluate_features",
)
HEAD = """# Examples: a loop of your own

Ten programs of plain PyTorch, each at most 50 lines long, that take what they need from Sensorium and nothing else: no
recipe, no run folder, no trainer. Every one makes its data, or takes it from scikit-learn, and runs on a CPU in a
minute; `STEPS=20 python simclr.py` is shorter. What stands below each is what it printed.

All names are described in [A loop of your own](../reference/api/own-loop.md), [Losses](../reference/api/losses.md) and
[Running](../reference/api/running.md).
"""


def example_page() -> str:
    """Return the page."""
    outputs = json.loads(OUTPUTS.read_text(encoding="utf-8"))
    out = HEAD + "\n| program | shows |\n| --- | --- |\n"
    texts = {name: (FOLDER / f"{name}.py").read_text(encoding="utf-8") for name in ORDER}
    for name, text in texts.items():
        out += f"| [{name}.py](#{name}py) | {_summary(text)} |\n"
    for name, text in texts.items():
        code, printed = text.partition('"""\n\n')[2].rstrip(), outputs[name].rstrip()
        out += f"\n## {name}.py\n\n{_summary(text)}\n\n```python\n{code}\n```\n\n```text\n{printed}\n```\n"
    return out


def _summary(text: str) -> str:
    return ast.get_docstring(ast.parse(text)) or ""


def run_examples() -> None:
    """Run every example whole, and keep what it prints."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    env.pop("STEPS", None)
    outputs = {}
    for name in ORDER:
        command = [sys.executable, str(FOLDER / f"{name}.py")]
        outputs[name] = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
    OUTPUTS.write_text(json.dumps(outputs, indent=1) + "\n", encoding="utf-8")
