"""`sensorium list` and `sensorium plugins`."""

import json

import pytest

from sensorium.cli.list import _reflowed
from sensorium.cli.main import main
from sensorium.cli.output import reflow
from sensorium.registration.discovery import BUILTINS


@pytest.fixture
def run(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return call


def test_a_kind_is_listed_as_a_table_and_as_json(run):
    code, out, _ = run("list", "objectives")
    assert code == 0
    assert "clip" in out
    assert "crossmodal" in out
    entries = {entry["name"]: entry for entry in json.loads(run("list", "objectives", "--json")[1])}
    assert entries["clip"]["plugin"] == "crossmodal"
    assert entries["clip"]["missing"] == []


def test_a_listing_in_a_pipe_is_not_cut_off(run):
    _, out, _ = run("list", "encoders")
    summaries = [entry["summary"] for entry in json.loads(run("list", "encoders", "--json")[1])]
    assert max(map(len, summaries)) > 60
    assert all(any(summary in line for line in out.splitlines()) for summary in summaries)


def test_brackets_in_a_help_text_are_shown(run):
    assert "finetune.labels=[class]" in " ".join(run("finetune", "--help")[1].replace("│", " ").split())


def test_one_thing_is_listed_with_its_options(run):
    code, out, _ = run("list", "objectives", "simclr")
    assert code == 0
    assert "temperature" in out
    assert "softmax temperature" in out  # the rest is on the next line
    shown = json.loads(run("list", "objectives", "simclr", "--json")[1])
    (temperature,) = [option for option in shown["options"] if option["name"] == "temperature"]
    assert (temperature["type"], temperature["default"], temperature["required"]) == ("float", 0.2, False)
    assert "Args:" not in shown["about"]


def test_a_group_of_options_is_listed_below_its_name(run):
    assert ".refresh" in run("list", "objectives", "dinov2")[1]
    shown = json.loads(run("list", "objectives", "dinov2", "--json")[1])
    (gram,) = [option for option in shown["options"] if option["name"] == "gram"]
    assert "weight" in [option["name"] for option in gram["options"]]


def test_text_ends_its_lines_where_the_terminal_does(run, monkeypatch):
    assert reflow("One\nsentence.\n\n- an item\n  of two lines\n- another\n\n    code\n    code\n") == (
        "One sentence.\n\n- an item of two lines\n- another\n\n    code\n    code"
    )
    monkeypatch.setenv("COLUMNS", "400")
    assert "mean val), they are the splits" in run("list", "sources", "folder")[1]


def test_views_are_listed_by_modality(run):
    entries = json.loads(run("list", "encoders", "--modality", "text", "--json")[1])
    assert {entry["modality"] for entry in entries} <= {"text", None}
    code, _, err = run("list", "encoders", "--modality", "txt")
    assert (code, "did you mean 'text'" in err) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("objectivs",), "There is no kind 'objectivs', did you mean 'objectives'? The kinds are: modal"),
        (("objectives", "simcrl"), "There is no objective named 'simcrl', did you mean 'simclr'?"),
        (("commands", "train"), "run sensorium train --help"),
        (("recipes", "image-text"), "run sensorium recipes image-text"),
    ],
)
def test_what_cannot_be_listed_is_told_in_a_sentence(run, arguments, said):
    code, out, err = run("list", *arguments)
    assert (code, out) == (3, "")
    assert said in err


def test_plugins_are_listed_with_state_and_time(run):
    code, out, _ = run("plugins")
    assert code == 0
    assert all(name in out for name in BUILTINS)
    shown = {p["name"]: p for p in json.loads(run("plugins", "--json")[1])["plugins"]}
    assert shown["crossmodal"]["state"] == "loaded"
    assert "clip" in shown["crossmodal"]["registered"]["objectives"]
    assert shown["crossmodal"]["milliseconds"] >= 0
    assert set(shown["crossmodal"]) == {
        "name", "state", "distribution", "version", "module", "reason", "registered", "milliseconds",
    }  # fmt: skip


def test_a_description_has_no_line_breaks_of_its_source():
    text = "A long\nline.\n\n- one\n- two\n\n    code\n    more"
    assert _reflowed(text) == "A long line.\n\n- one\n- two\n\n    code\n    more"
