"""The kit against plugins that are broken on purpose: each defect is found, by the check that is about it."""

from __future__ import annotations

import re
from unittest import SkipTest

import pytest
import torch

from sensorium.errors import PluginError
from sensorium.registration.discovery import load_extensions
from sensorium.registration.registry import Registry, Spec
from sensorium.testing import Failure, check_plugin, checks_of, yield_checks
from sensorium.testing.emulation.synchronizations import innermost_line
from tests.core.testing import parts


def failures(kind, cls, samples=parts.SAMPLES, options=None, modality=parts.Good):
    """Return what the kit finds wrong with a class: check name, without the thing's, to reason."""
    registry = Registry()
    home = f"{parts.__name__}:"

    def spec(kind, name, target, modality=None):
        return Spec(kind, name, home + target.__name__, "made", "p", "d", modality)

    tested = spec(kind, "rows", cls, "rows" if kind in ("encoders", "views") else None)
    registry.add([tested] if kind == "modalities" else [spec("modalities", "rows", modality), tested])
    found = {}
    for check in yield_checks(tested, registry, samples, options):
        try:
            check()
        except SkipTest:
            continue
        except Exception as error:
            found[check.name.partition("rows ")[2]] = f"{type(error).__name__}: {error}"
    return found


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("modalities", parts.Good),
        ("views", parts.Noise),
        ("encoders", parts.MLP),
        ("encoders", parts.Patches),
        ("objectives", parts.Contrast),
        ("objectives", parts.Align),
        ("objectives", parts.Words),
        ("sources", parts.Numbers),
        ("evaluators", parts.Nearest),
    ],
)
def test_what_is_sound_passes(kind, cls):
    assert failures(kind, cls) == {}


@pytest.mark.parametrize(
    ("kind", "cls", "check", "reason"),
    [
        ("modalities", parts.Forgets, "restores from its state", "restored from its state decodes otherwise"),
        ("modalities", parts.Crashes, "rejects undecodable values", "raises TypeError, not BadSample"),
        ("modalities", parts.Loses, "collates to a batch", "3 examples collate to 2 rows"),
        ("modalities", parts.LeavesBehind, "batches move whole", "leaves its field 'x' on cpu"),
        ("modalities", parts.LosesSizes, "batches move whole", "changes its field 'sizes'"),
        ("modalities", parts.Draws, "decodes deterministically", "two different examples"),
        ("views", parts.Mutates, "does not modify its input", "modifies its input batch"),
        ("views", parts.IgnoresSeed, "is deterministic given its generator", "return different views"),
        ("views", parts.DrawsGlobally, "uses no global randomness", "draws from a global generator"),
        ("views", parts.DrawsGlobally, "is deterministic given its generator", "return different views"),
        (
            "views",
            parts.Miscounts,
            "returns the declared number of views",
            "3 views and 0 negative ones, but returns 2",
        ),
        ("views", parts.DropsRow, "returns the declared number of views", "has 2 rows, its input 3"),
        ("views", parts.Widens, "preserves device and precision", "torch.float64"),
        ("views", parts.LacksTarget, "returns the declared target", "lacks the declared target 'rotation'"),
        ("views", parts.LacksInfo, "returns the declared info", "lacks the declared info 'anchors'"),
        ("views", parts.StaysOnHost, "runs on a gpu", "a tensor of view 0 is on cpu"),
        ("views", parts.Staged, "stages deterministically given its generator", "modifies its input example"),
        (
            "encoders",
            parts.WrongWidth,
            "returns pooled features of its declared dim",
            "is (3, 5); with dim = 6 it must be (3, 6)",
        ),
        ("encoders", parts.Restless, "is deterministic in eval mode", "two forward passes in eval mode differ"),
        ("encoders", parts.Mixes, "encodes each record independently", "record 0 has other features alone"),
        ("encoders", parts.Hides, "restores from its state dict", "has state outside the state_dict"),
        ("encoders", parts.ClashesDtypes, "runs on a gpu", "dtype"),
        ("encoders", parts.SelectsByMask, "runs on a gpu", "indexing with a boolean mask: torch.where or masked_fill"),
        ("views", parts.ReadsTwice, "runs on a gpu", "waits 2 times for the device, not once at most"),
        ("encoders", parts.Idle, "propagates gradient to every parameter", "no gradient reaches unused"),
        (
            "encoders",
            parts.WrongTargets,
            "returns tokens of the declared shapes",
            "token_targets are (3, 3, 2)",
        ),
        ("encoders", parts.LosesPositions, "encodes a subset of tokens", "they do not keep their position embeddings"),
        ("objectives", parts.WrongSign, "prefers positive pairs", "positive pairs have loss"),
        ("objectives", parts.AlignWrongSign, "prefers positive pairs", "positive pairs have cosine"),
        ("objectives", parts.Cut, "propagates gradient to every encoder", "no gradient reaches the encoder"),
        ("objectives", parts.Variance, "handles batches of one and two", "the loss is nan"),
        ("objectives", parts.Ordered, "is invariant to record order", "in another order is"),
        ("objectives", parts.Reads, "takes a step on a gpu", "a step waits 4 times for the device, not 2 at most"),
        ("objectives", parts.MixesDevices, "takes a step on a gpu", "Expected all tensors to be on the same device"),
        ("objectives", parts.Leaks, "returns a finite loss", "the log 'loss' is not a detached scalar"),
        ("objectives", parts.NeedsAll, "handles missing modalities", ""),
        ("sources", parts.Twice, "has unique record ids", "several records have the id ['r0']"),
        ("sources", parts.OtherLabels, "returns records that match their keys", "does not match its key"),
        ("sources", parts.Undeclared, "returns records that match their keys", "under ['secret']"),
        ("sources", parts.Endless, "raises index error past the end", "no IndexError"),
        ("evaluators", parts.Guesses, "beats chance on synthetic data", "no metric is better than chance"),
        ("evaluators", parts.Unsteady, "is deterministic", "give"),
        ("evaluators", parts.Stray, "reports chance for measured metrics", "['acc']"),
    ],
)
def test_each_defect_is_found_by_the_check_that_is_about_it(kind, cls, check, reason):
    found = failures(kind, cls)
    assert check in found, found
    assert reason in found[check]


def test_options_must_be_typed_and_documented():
    assert "no Args entry for strength, other" in failures("views", parts.Undocumented)["documents its options"]


def test_what_lacks_samples_or_options_fails_once_and_says_what_to_give():
    assert failures("views", parts.Noise, samples={}) == {
        "has samples and options": "Failure: there are no raw values to test it on: give them as "
        "sensorium_samples = {'rows': [...]} in the plugin's module"
    }
    (reason,) = failures("sources", parts.Needy).values()
    assert "sensorium_options = {'sources/rows': {...}}" in reason
    assert failures("sources", parts.Needy, options={"sources/rows": {"path": "here"}}) == {}


def test_a_part_is_checked_with_every_set_of_its_options():
    registry = Registry()
    spec = Spec("encoders", "map", "tests.core.testing.test_checked_part:Linear", "made", "p", "d", "rows")
    modality = Spec("modalities", "rows", "tests.core.testing.test_checked_part:Scaled", "made", "p", "d")
    registry.add([modality, spec])
    sets = [{"dim": 3}, "tests.core.testing.test_kit:options_of_map", {}]
    options = {"encoders/map": sets, "modalities/rows": [{"scale": 2.0}, {"scale": 0.0}]}
    checks = {check.name: check for check in yield_checks(spec, registry, {"rows": [1.0, 2.0]}, options)}
    names = [name for name in checks if "declared dim" in name]
    assert names == [
        f"encoder rows/map {case} returns pooled features of its declared dim"
        for case in ("[dim=3]", "[dim=4, modality={'scale': 3.0}]", "[defaults]")
    ]
    assert sum("documents its options" in name for name in checks) == 1
    assert [checks[name].run.args[0].examples()[0].item() for name in names] == [2.0, 3.0, 2.0]
    for name in names:
        checks[name]()


def options_of_map():
    return {"dim": 4, "modality": {"scale": 3.0}}


def test_samples_may_be_named_and_a_name_of_nothing_is_an_error_with_the_plugin(site):
    body = """
        from sensorium import hookimpl
        sensorium_samples = {"rows": "made_up.things:nothing"}

        @hookimpl
        def sensorium_register_modalities(register):
            register("rows", "made_up.things:Good", summary="x")
    """
    things = f"from {parts.__name__} import Good\ndef samples(): return [[1.0, 2.0, 3.0]]"
    site.install("made-up", "made", body, things=things)
    with pytest.raises(PluginError, match=r"plugin 'made' .* sensorium_samples = {'rows': 'made_up.things:nothing'}"):
        checks_of("made")


def test_samples_of_others_that_need_an_optional_package_are_left_out(site):
    body = """
        from sensorium import hookimpl
        sensorium_samples = {"rows": "made_up.things:samples"}

        @hookimpl
        def sensorium_register_modalities(register):
            register("rows", "made_up.things:Good", summary="x", requires=["no_such_package"])
    """
    site.install("made-up", "made", body, things="import no_such_package\n")
    assert "rows" not in load_extensions().declared("sensorium_samples")
    assert all(check.skip for check in checks_of("made") if check.name.startswith("modality rows"))


def test_what_lacks_an_optional_package_is_skipped_with_the_reason():
    spec = Spec("sources", "s", f"{parts.__name__}:Numbers", "made", "p", "d", requires=("no_such_package",))
    for check in yield_checks(spec, Registry()):
        with pytest.raises(SkipTest, match="no_such_package is not installed"):
            check()


def test_a_plugin_is_checked_whole_and_its_samples_are_taken_from_its_module(site):
    body = """
        from sensorium import hookimpl
        sensorium_samples = {"rows": "made_up.things:samples"}
        sensorium_options = {"encoders/mlp": {"dim": 7}}

        @hookimpl
        def sensorium_register_modalities(register):
            register("rows", "made_up.things:Good", summary="x")

        @hookimpl
        def sensorium_register_encoders(register):
            register("mlp", "made_up.things:MLP", modality="rows", summary="x")
            register("lost", "made_up.things:MLP", modality="nothing", summary="x")
    """
    things = f"""
        from torch import nn
        from sensorium import Encoder, Features
        from {parts.__name__} import Good

        def samples():
            return [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]

        class MLP(Encoder):
            '''A map.

            Args:
                dim: width of the features.
            '''

            def __init__(self, modality, dim: int = 5):
                super().__init__()
                self.dim, self.net = 7, nn.Linear(3, dim)

            def forward(self, batch):
                return Features(self.net(batch.x))
    """
    site.install("made-up", "made", body, things=things)
    rows = {row.name: row for row in check_plugin("made")}
    assert rows["plugin made registers without heavy imports"].status == "passed"
    assert rows["modality rows decodes deterministically"].status == "passed"
    assert rows["encoder rows/mlp returns pooled features of its declared dim"].status == "passed"
    assert rows["modality rows previews its examples"].status == "skipped"
    lost = rows["encoder nothing/lost belongs to a registered modality"]
    assert (lost.status, "no modality named 'nothing'" in lost.reason) == ("failed", True)
    assert all(row.seconds >= 0 and bool(row.reason) == (row.status != "passed") for row in rows.values())


def test_a_registration_that_imports_torch_is_found(site, objective_body):
    site.install("made-up", "made", "import torch\n" + objective_body("made-objective", "made_up"))
    heavy = checks_of("made")[0]
    with pytest.raises(Failure, match="its module imports torch, numpy"):
        heavy()


def test_the_options_of_other_plugins_encoders_are_not_made(monkeypatch):
    asked = []
    monkeypatch.setattr("sensorium.modalities.text.samples.tiny_transformer", lambda: asked.append("encoder") or {})
    assert checks_of("pretext", load_extensions({}, []))
    assert asked == []
    checks_of("text", load_extensions({}, []))
    assert set(asked) == {"encoder"}


def test_an_error_is_named_with_the_innermost_line_outside_of_torch():
    with pytest.raises(RuntimeError) as raised:
        torch.nn.Linear(2, 2)(torch.zeros(3))
    line = innermost_line(raised.value)
    assert re.fullmatch(r"core/testing/test_kit\.py:\d+ test_an_error_is_named\w+", line)
