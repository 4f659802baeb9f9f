"""The laws of the tree: which way imports point, how long a file may be, what a listing may cost."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache, partial
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sensorium
from sensorium.registration.discovery import BUILTINS, load_extensions
from sensorium.registration.options import options_of
from sensorium.registration.registry import CONTRACTS, FILLED

ROOT = Path(__file__).parents[1]
TREES = {"core": "sensorium", "modalities": "sensorium.modalities", "plugins": "sensorium.plugins"}
FLOORS = [
    {
        "errors",
        "deprecation",
        "types",
        "seeding",
        "devices",
        "presence",
        "record_keys",
        "interruption",
        "launcher",
        "progress_bar",
        "text_drawing",
        "feature_table",
    },
    {"contracts", "parallel", "losses", "collectives", "batch_norm"},
    {"blocks", "heads", "masking", "optimizers"},
    {"registration"},
    {"recipe", "data", "runs", "weights", "callbacks", "loggers"},
    {"models"},
    {"training"},
    {
        "evaluation",
        "finetuning",
        "exporters",
        "testing",
        "neighbors",
        "mining",
        "curation",
        "embeddings",
        "indexing",
        "browsing",
        "doctor",
        "checking",
        "packing",
    },
    {"reports"},
    {"api", "views", "curate", "matrix", "sklearn", "cli", "huggingface", "__main__"},
]
"""Rooms of core from the ground up: a room imports those of its own floor and of the floors before it."""
PUBLIC = {"types", "errors", "contracts", "feature_table", "presence", *sensorium._MODULES}
"""What modalities and plugins may import, beside the names of `sensorium` itself."""
SHARED = {
    "modalities": tuple(
        f"sensorium.modalities.{name}" for name in ("signal", "graph", "open_clip", "transformers_models")
    ),
}
"""What several parts of a tree share: time series and audio are signals, molecules are graphs, open_clip and
transformers have models of several modalities."""
HEAVY = {"torch", "numpy", "PIL", "sklearn", "transformers", "timm"}
CLEAN = "import sys; sys.modules.update({name: None for name in %r}); "
"""Makes an import of any of these names fail."""


def files():
    """Return every Python file of the three trees."""
    return [path for tree in TREES for path in sorted((ROOT / tree).rglob("*.py"))]


def name_of(path):
    """Return the dotted name that a file is imported under."""
    tree, *parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([TREES[tree], *(part for part in parts if part != "__init__")])


@cache
def imports(path):
    """Return the sensorium modules that a file imports, wherever in it, for type checking too."""
    found = set()

    def visit(node):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return {name for name in found if name.partition(".")[0] == "sensorium"}


def room(name):
    """Return the room of core that "sensorium.room..." is in, or None for the package itself and its names."""
    part = name.split(".")[1] if "." in name else ""
    return part if (ROOT / "core" / part).is_dir() or (ROOT / "core" / f"{part}.py").is_file() else None


def test_every_room_of_core_stands_on_a_floor():
    rooms = {path.stem for path in (ROOT / "core").iterdir() if path.is_dir() or path.suffix == ".py"}
    rooms -= {"__init__", "__pycache__", "py"}
    assert rooms <= set().union(*FLOORS), f"no floor for {rooms - set().union(*FLOORS)}"


def test_core_imports_downwards_only():
    level = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    wrong = []
    for path in sorted((ROOT / "core").rglob("*.py")):
        own = room(name_of(path))
        for name in imports(path) if own else ():
            other = room(name)
            if other and level[other] > level[own]:
                wrong.append(f"{path.relative_to(ROOT)} ({own}) imports {name}")
    assert wrong == []


def test_rooms_and_modules_of_core_import_each_other_in_no_circle():
    modules = {name_of(path): path for path in sorted((ROOT / "core").rglob("*.py"))}
    modules.pop("sensorium")  # its names are loaded at first use
    edges = {
        name: {other for other in map(partial(module_of, modules), imports(path)) if other not in (None, name)}
        for name, path in modules.items()
    }
    rooms = {}
    for name, others in edges.items():
        rooms.setdefault(room(name), set()).update(map(room, others))
    for graph in (edges, {name: others - {name} for name, others in rooms.items()}):
        TopologicalSorter(graph).prepare()  # raises CycleError with the circle


def module_of(modules, name):
    """Return the module that "sensorium.room.module.Name" is in, or None for a name of the package itself."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def test_core_names_no_modality_and_no_plugin_but_in_the_list_of_built_ins():
    wrong = []
    for path in sorted((ROOT / "core").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        mentions = text.count("sensorium.modalities") + text.count("sensorium.plugins")
        allowed = 0
        if path.name == "discovery.py":
            allowed = sum(
                module.startswith(("sensorium.modalities", "sensorium.plugins")) for module in BUILTINS.values()
            )
        if mentions != allowed:
            wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []


def test_modalities_and_plugins_import_public_names_and_themselves_only():
    wrong = []
    for path in files():
        tree, home, *_ = path.relative_to(ROOT).parts
        if tree == "core":
            continue
        own = (f"{TREES[tree]}.{home.removesuffix('.py')}", *SHARED.get(tree, ()), *SHARED.get(f"{tree}/{home}", ()))
        for name in imports(path):
            public = room(name) in PUBLIC | {None} and not name.startswith(tuple(TREES.values())[1:])
            if not (public or name.startswith(own)):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_no_file_is_long_and_none_is_called_utils():
    long = {str(path.relative_to(ROOT)): n for path in files() if (n := len(path.read_text().splitlines())) > 600}
    assert long == {}
    assert [path for path in files() if path.stem in ("utils", "helpers", "common", "misc")] == []


def test_no_folder_of_core_hides_a_tree():
    assert not list((ROOT / "core").glob("plugins*"))
    assert not list((ROOT / "core").glob("modalities*"))


@pytest.mark.parametrize(
    "arguments", [["--help"], ["plugins"], ["list", "objectives"], ["list", "views", "--json"], ["recipes"]]
)
def test_listings_import_nothing_heavy(arguments):
    code = CLEAN % sorted(HEAVY) + f"from sensorium.cli.main import main; main({arguments!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_registration_module_imports_nothing_heavy():
    modules = sorted(BUILTINS.values())
    code = CLEAN % sorted(HEAVY) + f"import importlib; [importlib.import_module(name) for name in {modules!r}]"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("error::SyntaxWarning")
def test_no_file_has_a_syntax_warning():
    for path in files():
        compile(path.read_text(encoding="utf-8"), str(path), "exec", dont_inherit=True)


ALONE = """
import os, sys, warnings
# What ours import of others is loaded once; the children import one module of ours each.
import lightning_fabric, open_clip, pydantic, rich, sklearn.ensemble, sklearn.linear_model, sklearn.svm, timm
import torch, torchvision.transforms.v2, typer, yaml
warnings.simplefilter("error", SyntaxWarning)
assert not any(name.startswith("sensorium") for name in sys.modules)
failed = []
for name in sys.argv[1:]:
    if (child := os.fork()) == 0:
        try:
            __import__(name)
        except BaseException as error:
            print(name, type(error).__name__, error, file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        failed.append(name)
sys.exit(bool(failed))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_module_can_be_imported_alone():
    names = [name_of(path) for path in files() if path.stem != "__main__"]
    done = subprocess.run(
        [sys.executable, "-B", "-c", ALONE, *names], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", sorted(TREES))
def test_a_tree_refuses_to_be_imported_under_its_folder_name(folder):
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "ImportError: This package is imported as" in done.stderr


def builtin_specs():
    registry = load_extensions({}, []).registry
    return [spec for kind in CONTRACTS for spec in registry.specs(kind)]


def test_every_built_in_plugin_is_loaded():
    assert [plugin.sentence for plugin in load_extensions({}, []).plugins if plugin.state != "loaded"] == []


@pytest.mark.parametrize("spec", builtin_specs(), ids=lambda s: f"{s.kind}-{s.modality or 'every'}-{s.name}")
def test_every_option_of_a_built_in_is_typed_and_documented(spec):
    if spec.missing_packages():
        pytest.skip(f"needs {', '.join(spec.missing_packages())}")
    options = options_of(spec.load(), skip=FILLED.get(spec.kind, 0))
    assert [option.name for option in options if not option.help] == []
    assert [option.name for option in options if option.type == "Any"] == []


def test_an_objective_is_one_short_file_that_names_no_modality():
    """What a user writes for a new objective: at most 60 lines, shown by the shortest and the median built-in one."""
    registry = load_extensions({}, []).registry
    lines = {}
    for spec in registry.specs("objectives"):
        path = ROOT.joinpath(*spec.target.partition(":")[0].split(".")[1:]).with_suffix(".py")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert not strings & set(registry.names("modalities")), spec.name
        lines[spec.name] = len(path.read_text(encoding="utf-8").splitlines())
    found = sorted(lines.values())
    assert found[0] <= 40
    assert found[len(found) // 2] <= 60
    assert found[-1] <= 100, max(lines, key=lines.get)
