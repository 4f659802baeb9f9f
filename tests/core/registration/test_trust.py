"""What `docs/reference/trust.md` says of the code that runs, where a test can show it."""

import os
import pickle
import tomllib
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from sensorium.errors import RecipeError
from sensorium.recipe.reading import read_recipe
from sensorium.registration.discovery import FABRIC_GROUPS, load_extensions
from sensorium.runs.checkpoint import Checkpoints

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "trust.md").read_text(encoding="utf-8")
MARK = """
    from pathlib import Path
    Path({path!r}).touch()
    from sensorium import hookimpl

    @hookimpl
    def sensorium_register_objectives(register):
        register("made-objective", "made_up.part:Made", summary="x")
"""


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("variables", [{"SENSORIUM_PLUGINS": ""}, {"SENSORIUM_DISABLE_PLUGINS": "made-up"}])
def test_not_one_line_of_a_blocked_plugin_runs(site, tmp_path, variables):
    site.install("made-up", "made", MARK.format(path=str(tmp_path / "ran")))
    load_extensions(variables, site.found())
    assert not (tmp_path / "ran").exists()
    load_extensions({}, site.found())
    assert (tmp_path / "ran").exists()


def test_a_part_that_nobody_names_is_not_imported(site, tmp_path):
    part = f"from pathlib import Path\nPath({str(tmp_path / 'part')!r}).touch()\n"
    site.install("made-up", "made", MARK.format(path=str(tmp_path / "ran")), part=part)
    registry = load_extensions({}, site.found()).registry
    assert list(registry.specs("objectives"))
    assert not (tmp_path / "part").exists()


def test_a_recipe_in_yaml_runs_nothing(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"name: !!python/object/apply:os.mkdir ['{tmp_path / 'ran'}']\n")
    with pytest.raises(RecipeError):
        read_recipe(recipe, load_extensions({}, []).registry)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_runs_nothing(tmp_path):
    checkpoints = Checkpoints(tmp_path, 1)
    checkpoints.path(1).write_bytes(pickle.dumps({"step": 1, "payload": Payload(tmp_path / "ran")}))
    assert checkpoints.latest() is None
    assert not (tmp_path / "ran").exists()


def test_a_sharded_checkpoint_runs_nothing(tmp_path):
    """Whatever lies in it: torch's own reader of such folders unpickles `.metadata`."""
    model = torch.nn.Linear(2, 2)
    checkpoints, optimizer = Checkpoints(tmp_path, 2, sharded=True), torch.optim.AdamW(model.parameters())
    checkpoints.save(1, model, optimizer, {})
    payload = pickle.dumps({"payload": Payload(tmp_path / "ran")})
    (checkpoints.path(1) / ".metadata").write_bytes(payload)
    (checkpoints.path(1) / "more.distcp").write_bytes(payload)
    (checkpoints.path(1) / "more.safetensors").write_bytes(payload)
    checkpoints.latest().restore(model, optimizer)
    assert not (tmp_path / "ran").exists()


def test_lightning_itself_is_no_dependency_and_the_floor_is_above_the_malicious_releases():
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    of = {requirement.name: requirement.specifier for requirement in map(Requirement, needed)}
    assert "lightning" not in of
    assert not any(of["lightning-fabric"].contains(bad) for bad in ("2.6.2", "2.6.3"))
    assert not [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("lightning==")]


def test_the_page_names_what_decides():
    for word in ("SENSORIUM_PLUGINS", "SENSORIUM_DISABLE_PLUGINS", "weights_only", FABRIC_GROUPS[0]):
        assert f"`{word}" in PAGE
