"""Every command, recipe and line of Python that a page shows runs to its end, page by page, in the order of the page.

The data are made to the page's description (`materials`); trainings take two steps.
"""

from __future__ import annotations

import math
import re
import shlex
import subprocess
import sys
from functools import wraps
from pathlib import Path

import pytest
import yaml

import sensorium
from sensorium.cli.main import main
from sensorium.data.splits import assign_parts
from sensorium.evaluation import part_reader
from sensorium.recipe.reading import unvalidated
from sensorium.registration.discovery import load_extensions

from .materials import MATERIALS
from .pages import ROOT, blocks_of, name_of, write_recipes

SHOWING = [
    ROOT / "README.md",
    *sorted((ROOT / "docs" / "get-started").glob("*.md")),
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
]
FAST = ("my-own-series.md", "from-python.md", "a-modality.md", "a-callback.md")
"""Pages that take seconds; all others are slow tests."""
ELSEWHERE = {
    "plugin new": "tests/core/cli/test_plugin.py",
    "plugin check": "tests/core/cli/test_plugin.py",
    "matrix": "tests/core/matrix/test_matrix.py",
    "replay": "tests/integration/test_nonfinite.py",
    "--nnodes": "needs two machines",
    "browse": "tests/core/browsing/test_browser.py",
}
"""What is not run here, and where it is."""
SHIPPED = sorted((ROOT / "core" / "recipe" / "shipped").glob("*.yaml"))
SHORT = ("train.epochs=null", "train.steps=2", "data.workers=0", "log.loggers={}")
SHORT_TUNING = ("finetune.epochs=1", "finetune.seeds=1", "finetune.trees=5")
LARGEST, MOST = 16, 160
"""Records of a batch, and of each part: of sample sets too, which have thousands."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder for what a page shows; functions of Python are as short there as commands."""
    monkeypatch.chdir(tmp_path)
    fit, finetune = sensorium.fit, sensorium.finetune

    @wraps(fit)
    def short_fit(recipe=None, overrides=(), **options):
        if recipe is not None and options.get("resume") is None:
            overrides = [*overrides, *shortening(recipe, overrides)]
        return fit(recipe, overrides, **options)

    monkeypatch.setattr(part_reader, "assign_parts", few_records)
    monkeypatch.setattr(sensorium, "fit", short_fit, raising=False)
    monkeypatch.setattr(
        sensorium,
        "finetune",
        lambda run, overrides=(), **o: finetune(run, [*overrides, *SHORT_TUNING], **o),
        raising=False,
    )
    return tmp_path


def few_records(*given):
    """Return the parts of a source, each with few records, evenly spaced."""
    return {part: at_N[:: math.ceil(len(at_N) / MOST) or 1] for part, at_N in assign_parts(*given).items()}


def shortening(recipe, overrides):
    """Return the overrides that make a training of a recipe short."""
    raw, _ = unvalidated(recipe, load_extensions().registry, overrides)  # which objects that are handed in make whole
    size = (raw.get("data") or {}).get("batch", LARGEST)
    return [*SHORT, f"data.batch={min(size, LARGEST)}"]


def make_materials(text: str, place: Path) -> None:
    """Make every file and folder that a text names."""
    for name, make in MATERIALS.items():
        is_named = re.search(rf"(?<![\w/.-]){re.escape(name)}(?![\w-])", text)
        if is_named and f"--run-dir {name}" not in text and not (place / name).exists():
            make(place / name)


def run(words: list[str]) -> None:
    """Run a command of ours in this process, or in processes of its own when it starts several."""
    if (said := " ".join(words)) and any(skipped in said for skipped in ELSEWHERE):
        return
    several = words[0] == "torchrun" or any(word.startswith("train.devices=") for word in words)
    start = (
        words.index("sensorium") + 1
        if "sensorium" in words
        else next(i for i, w in enumerate(words) if w.endswith("/sensorium")) + 1
    )
    given = words[start:]
    if given[0] in ("train", "crossfit") and not {"--resume", "--print-recipe"} & set(given):
        named = given[1:]
        recipe = named[0]
        given += shortening(recipe, [w for w in named[1:] if "=" in w and not w.startswith("-")])
    if given[0] == "finetune":
        given += SHORT_TUNING
    if given[0] == "doctor":
        given += ["--seconds", "0.1"]
    if several:
        launcher = ["torch.distributed.run", *words[1:start]] if words[0] == "torchrun" else ["sensorium"]
        subprocess.run([sys.executable, "-m", *launcher, *given], check=True, capture_output=True, timeout=300)
        return
    with pytest.raises(SystemExit) as end:
        main(given)
    assert not end.value.code, shlex.join(given)


def run_block(language: str, block: str, names: dict[str, object]) -> None:
    """Run what one block shows."""
    if language == "sh":
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if any(word == "sensorium" or word.endswith("/sensorium") for word in words):
                run(words)
    elif language == "python":
        exec(block, names)
    elif language == "yaml" and is_recipe(block):
        shown = re.match(r"# \S+\.yaml: (sensorium train .+)", block)
        if shown is None:
            Path("shown.yaml").write_text(block)
        run(shlex.split(shown[1] if shown else "sensorium train shown.yaml"))


def is_recipe(block: str) -> bool:
    """Whether a block is a whole recipe, or one with a base, rather than a part of one."""
    shown = yaml.safe_load(block)
    return bool({"modalities", "base"} & shown.keys()) and "my-sensor" not in shown.get("modalities", {})


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[] if page.name in FAST else [pytest.mark.slow], id=name_of(page)) for page in SHOWING],
)
def test_everything_that_a_page_shows_runs_to_its_end(page, place):
    text = page.read_text(encoding="utf-8")
    make_materials("\n".join([text, *(r.read_text() for r in SHIPPED if f"doctor {r.stem}" in text)]), place)
    write_recipes(page, place)
    names: dict[str, object] = {}
    for language, block in blocks_of(page):
        run_block(language, block, names)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda recipe: recipe.stem)
def test_every_shipped_recipe_runs_as_its_header_says(recipe, place):
    """Every command of the header, with all evaluators of the recipe."""
    text = recipe.read_text(encoding="utf-8")
    lines = re.findall(r"^# (sensorium train [^(\n]*)", text.replace("\\\n#", ""), flags=re.MULTILINE)
    assert lines, "the header says how to run it"
    make_materials(text, place)
    for line in lines:
        run(shlex.split(line))
