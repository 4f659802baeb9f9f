"""`sensorium doctor`: one screen, or JSON."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console
from rich.text import Text

from sensorium.cli.doctor import print_diagnosis
from sensorium.cli.main import main
from sensorium.data.memory import Space
from sensorium.doctor.advice import advise
from sensorium.doctor.diagnosis import Diagnosis
from sensorium.doctor.machine import Missing
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions
from tests import toys
from tests.core.doctor.conditions import GPU, H100, STARVED


def screen(found, terminal=False):
    file = io.StringIO()
    print_diagnosis(found, Console(file=file, width=80, force_terminal=terminal, highlight=False))
    return file.getvalue()


def worst():
    """A machine of which there is much to say."""
    packages = ("torchvision", "torchaudio", "torch_geometric", "lightning-fabric", "open_clip_torch", "timm", "numpy")
    missing = [
        Missing(f"sensorium[{extra}]", [extra, f"{extra}_more"], [f"encoder {extra}-{i}" for i in range(6)])
        for extra in ("audio", "series", "molecules", "catch22", "search")
    ]
    machine = replace(
        GPU,
        versions={"python": "3.11.7", "sensorium": "0.1.0", **dict.fromkeys(packages, "10.20.30"), "cuda": "13.0"},
        cpu="Intel(R) Xeon(R) Platinum 8468 CPU @ 2.10GHz",
        devices=[H100] * 4,
        shared_memory=Space(64e6, 64e6),
        disk=Space(1e9, 1e7),
        missing=missing,
    )
    recipe = read_recipe(toys.recipe(train={"epochs": 1, "precision": "32-true"}), load_extensions().registry)
    rates = replace(STARVED, batch_bytes=500_000_000)
    return Diagnosis(machine, rates, advise(machine, recipe, rates))


def test_it_is_one_screen_whatever_is_found():
    text = screen(worst())
    lines = text.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert not any(line.endswith(" ") for line in lines)
    assert "\x1b" not in text
    for change in ("train.precision=bf16-mixed", "train.devices=auto", "data.workers=0", "data.cache=device"):
        assert f"   {change}" in lines  # alone on its line, to be copied
    assert "missing     sensorium[audio] (audio, audio_more), for encoder audio-0 and 5 more" in lines
    assert "cuda        4 x NVIDIA H100, 78 GB free of 80 GB" in lines


def test_a_terminal_gets_the_same_text_in_color():
    plain, colored = screen(worst()), screen(worst(), terminal=True)
    assert "\x1b[" in colored
    assert Text.from_ansi(colored).plain.rstrip("\n") == plain.rstrip("\n")


def test_a_machine_that_is_well_fits_a_small_terminal():
    text = screen(Diagnosis(GPU, replace(STARVED, cache="device"), []))
    assert len(text.splitlines()) <= 24
    assert text.endswith("Nothing to change.\n")
    assert "steps wait for" not in text


@pytest.fixture
def call(capsys):
    def run(*words):
        with pytest.raises(SystemExit) as left:
            main(list(words))
        return left.value.code, *capsys.readouterr()

    return run


def test_the_command_prints_a_screen_or_json(call):
    code, out, _ = call("doctor")
    assert code == 0
    assert out.startswith("versions    python ")
    code, out, _ = call("doctor", "--json")
    assert code == 0
    assert json.loads(out)["machine"]["versions"]["sensorium"]


def test_a_recipe_that_is_wrong_is_one_sentence(call):
    code, _, err = call("doctor", "simclr-cifar10", "train.epocs=3")
    assert code == 2
    assert "did you mean 'epochs'" in err


def test_other_ranks_are_silent(call, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, out, _ = call("doctor")
    assert (code, out) == (0, "")
