"""An export is written whole, checked, with its card; or not at all."""

import sys
from types import ModuleType

import pytest

import sensorium
from sensorium.errors import RunError, SensoriumError
from sensorium.exporters.base import Exporter, Verification
from sensorium.exporters.writing import write_export
from tests import toys


class Numbers(Exporter):
    library = "numbers"

    def __init__(self, fault=None):
        self.fault = fault

    def export(self, model, folder):
        (folder / "numbers.txt").write_text("1 2 3")
        if self.fault == "export":
            raise KeyError("half of it is written")
        return f'open("{folder / "numbers.txt"}")'

    def verify(self, model, folder):
        if self.fault == "verify":
            raise SensoriumError("What was exported computes something else.")
        return Verification("numpy", {"numbers": 2.5e-7}, ["It takes numbers."])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder, extensions = tmp_path_factory.mktemp("written") / "run", toys.extensions()
    recipe = toys.recipe(train={"steps": 1, "accelerator": "cpu"})
    return sensorium.fit(recipe, source=toys.vectors(), run_dir=folder, evaluate=False, extensions=extensions)


def test_the_card_has_what_loads_it_and_how_it_was_checked(model, tmp_path):
    write_export(Numbers(), model, tmp_path / "new", toys.extensions().registry)
    card = (tmp_path / "new" / "README.md").read_text()
    assert "library_name: numbers" in card
    assert f'open("{tmp_path / "new" / "numbers.txt"}")' in card
    assert "- It takes numbers." in card
    assert "the largest difference from the model is 2.5e-07. Each: numbers 2.5e-07." in card


@pytest.mark.parametrize(("fault", "error"), [("export", KeyError), ("verify", SensoriumError)])
def test_nothing_is_left_of_one_that_fails(model, fault, error, tmp_path):
    registry = toys.extensions().registry
    with pytest.raises(error):
        write_export(Numbers(fault), model, tmp_path / "new", registry)
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(error):
        write_export(Numbers(fault), model, tmp_path / "empty", registry)
    assert list((tmp_path / "empty").iterdir()) == []
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(error):
        write_export(Numbers(fault), model, tmp_path / "link", registry)
    assert list((tmp_path / "empty").iterdir()) == []
    assert (tmp_path / "link").is_symlink()


def test_a_library_whose_distribution_has_another_name_is_named_by_its_own_version(monkeypatch):
    made = ModuleType("runtime")
    made.__version__ = "3.2"
    monkeypatch.setitem(sys.modules, "runtime", made)
    assert str(Verification("runtime", {"x": 0.0})).startswith("Verified by runtime 3.2: ")
    assert str(Verification("nowhere", {"x": 0.0})).startswith("Verified by nowhere: ")


def test_a_folder_with_files_is_left_alone(model, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="is not an empty folder"):
        write_export(Numbers(), model, tmp_path, toys.extensions().registry)
    assert (tmp_path / "mine.txt").read_text() == "mine"
