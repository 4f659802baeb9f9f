"""The script for the first hour on a device runs whole on a CPU, and its page shows what it measured."""

import importlib
import json
import warnings

import pytest
import torch

from sensorium.testing.emulation import Emulation, emulated_device
from sensorium.testing.emulation.step import emulated_fabric

from .pages import ROOT

FOLDER = ROOT / "docs" / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("gpu_session")


@pytest.fixture
def page(script):
    return importlib.import_module("gpu_parts.page")


def run(script, out, part):
    script.main(["--device", "cpu", "--tiny", "--part", part, "--out", str(out)])
    return json.loads((out / f"{part}.json").read_text())


def test_every_part_runs_and_is_shown(script, page, tmp_path, capsys):
    for part in script.PARTS:
        found = run(script, tmp_path, part)
        assert found["complete"]
        assert found["versions"]["torch"] == torch.__version__.partition("+")[0]
        assert [row["failed"] for row in found["rows"].values() if "failed" in row] == []
        assert any("skipped" not in row for row in found["rows"].values())
    assert capsys.readouterr().out.count("is complete.") == len(script.PARTS)

    text = page.rendered((FOLDER / "gpu-session.md").read_text(), tmp_path)
    assert page.OPEN not in text.partition("<!-- steps -->")[2]
    for line in (
        "| eager | 2 | 2 | 0 | 0 |",
        "| views, sensorium |",
        "| 256 pairs, fp32, open_clip |",
        "| embed, test part |",
    ):
        assert line in text
    assert page.rendered(text, tmp_path) == text

    kept = (tmp_path / "losses.json").read_text()
    assert run(script, tmp_path, "losses")["rows"] == json.loads(kept)["rows"]  # measured once


def test_the_page_is_that_of_the_results_in_the_repository(script, page):
    text = (FOLDER / "gpu-session.md").read_text()
    assert page.rendered(text, script.RESULTS) == text


def test_parts_keep_everything_on_the_device(script, monkeypatch, tmp_path):
    """On the emulated device a tensor that was left on the CPU is an error; torch's own mode for waits is not there."""
    session = importlib.import_module("gpu_parts.session")
    monkeypatch.setattr(session.Settings, "fabric", lambda self: emulated_fabric("bf16-mixed"))
    monkeypatch.setattr(session.Settings, "precision", "bf16-mixed")
    settings = session.Settings(emulated_device(), True, tmp_path, float("inf"), tmp_path, tmp_path)
    names = ["simclr image, eager", "step, sensorium", "views, torchvision v2", "64 pairs, bf16 autocast, sensorium"]
    with Emulation():
        for part in ("steps", "images", "losses"):
            rows = dict(importlib.import_module(f"gpu_parts.{part}").rows(settings))
            for name in set(names) & set(rows):
                assert rows[name]()


@pytest.fixture
def settings(script, tmp_path):
    module = importlib.import_module("gpu_parts.session")
    return module, module.Settings(torch.device("cpu"), True, tmp_path, float("inf"), tmp_path, tmp_path)


def rows_of(module, settings, **rows):
    module.measure_rows("part", rows.items(), settings)
    return module.read(settings.out / "part.json")


def test_a_row_that_fails_or_lacks_its_package_costs_itself_only(settings):
    module, chosen = settings

    def fails():
        raise ValueError("no luck\nand more")

    def lacks():
        raise ModuleNotFoundError("No module named 'lightly'", name="lightly")

    found = rows_of(module, chosen, a=fails, b=lacks, c=lambda: {"ms": 1.0})
    assert found["rows"]["a"]["failed"] == "ValueError: no luck"
    assert found["rows"]["b"]["skipped"] == "lightly is not installed"
    assert found["rows"]["c"]["ms"] == 1.0
    found = rows_of(module, chosen, a=lambda: {"ms": 2.0}, b=lambda: {"ms": 3.0})
    assert "failed" in found["rows"]["a"]  # what was measured stays, what was missing is tried again
    assert found["rows"]["b"]["ms"] == 3.0


def test_a_lost_device_or_an_unfinished_row_leaves_the_rest_to_the_next_command(settings):
    module, chosen = settings

    def lost():
        raise RuntimeError("CUDA error: an illegal memory access")

    found = rows_of(module, chosen, a=lost, b=lambda: {"ms": 1.0})
    assert (list(found["rows"]), found["complete"]) == (["a"], False)

    def unfinished():
        raise module.Unfinished

    found = rows_of(module, chosen, a=lost, b=unfinished, c=lambda: {"ms": 1.0})
    assert (list(found["rows"]), found["complete"]) == (["a"], False)
    found = rows_of(module, chosen, a=lost, b=lambda: {"ms": 1.0})
    assert (list(found["rows"]), found["complete"]) == (["a", "b"], True)


def test_no_row_begins_after_the_deadline_and_cards_are_not_mixed(settings):
    module, chosen = settings
    late = module.Settings(chosen.device, True, chosen.out, -float("inf"), chosen.train, chosen.test)
    assert rows_of(module, late, a=lambda: {"ms": 1.0})["rows"] == {}
    module.write(chosen.out / "part.json", {"card": "NVIDIA H100", "rows": {}})
    with pytest.raises(SystemExit, match="measured on NVIDIA H100"):
        rows_of(module, chosen, a=lambda: {"ms": 1.0})


def test_waits_of_the_host_are_counted_by_torch_and_the_mode_is_restored(script, monkeypatch):
    steps, modes = importlib.import_module("gpu_parts.steps"), []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    with steps.waits_counted(torch.device("cuda")) as places:
        warnings.warn("called a synchronizing CUDA operation (Triggered internally)", stacklevel=1)
        warnings.warn("of another kind", stacklevel=1)
    assert [place.rpartition(":")[0] for place in places] == [__file__]
    with pytest.raises(RuntimeError), steps.no_waits(torch.device("cuda")):
        raise RuntimeError("called a synchronizing CUDA operation")
    assert modes == ["warn", "default", "error", "default"]


def test_seconds_to_a_level_leave_out_evaluation(script, tmp_path):
    cifar10 = importlib.import_module("gpu_parts.cifar10")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"recipe": {"data": {"batch": 100}}}))
    lines = [
        {"step": 10, "records_per_second": 500.0},
        {"step": 10, "val/knn/accuracy": 0.7},
        {"step": 30, "records_per_second": 1000.0},
        {"step": 30, "val/knn/accuracy": 0.86},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert cifar10.reached_levels(tmp_path) == {0.80: 4.0, 0.85: 4.0}
