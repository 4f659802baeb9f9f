"""Names to specs: what is found, what is refused and what is said."""

import sys
import types

import pytest

from sensorium.errors import PluginError
from sensorium.registration.registry import KINDS, SINGULAR, Absent, Conflict, Register, Registry, Spec, with_article


def spec(kind="objectives", name="x", modality=None, plugin="p", distribution="d", target="mod:X", **more):
    return Spec(kind, name, target, "a summary", plugin, distribution, modality, **more)


@pytest.fixture
def registry():
    made = Registry()
    made.add(
        [
            spec("modalities", "image"),
            spec("modalities", "text"),
            spec("encoders", "transformer", "text"),
            spec("encoders", "vit", "image"),
            spec("encoders", "mlp", "image"),
            spec("encoders", "mlp", "text"),
            spec("views", "plain"),
            spec("objectives", "simclr"),
            spec("objectives", "clip"),
        ]
    )
    return made


def test_every_kind_has_a_word():
    assert set(SINGULAR) == set(KINDS)
    assert (with_article("objectives"), with_article("sources")) == ("an objective", "a source")


def test_names_are_found_by_kind_and_modality(registry):
    assert registry.find("encoders", "mlp", "text").modality == "text"
    assert registry.find("encoders", "vit").modality == "image"
    assert registry.find("views", "plain", "text").modality is None
    assert registry.names("encoders", "text") == ["mlp", "transformer"]
    assert registry.names("encoders") == ["mlp", "vit", "transformer"]
    assert [s.name for s in registry.specs("objectives")] == ["clip", "simclr"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("objectives", "simcrl"), "There is no objective named 'simcrl', did you mean 'simclr'? Known: clip, simclr."),
        (("objectives", "zzz"), "There is no objective named 'zzz'; known: clip, simclr."),
        (("sources", "folder"), "There is no source named 'folder'; known: none."),
        (
            ("encoders", "vit", "text"),
            "'vit' is an encoder for modality 'image', not for 'text'; for 'text' there are: mlp, transformer.",
        ),
        (("encoders", "mlp"), "'mlp' is an encoder of several modalities: name one by --modality, of image, text."),
    ],
)
def test_what_is_not_found_is_told_in_a_sentence(registry, asked, said):
    with pytest.raises(PluginError) as caught:
        registry.find(*asked)
    assert str(caught.value) == said


def test_absent_plugins_are_blamed_and_the_cause_is_chained(registry):
    error = ImportError("no rdkit")
    registry.add_absent(Absent("plugin 'm' (m 1.0) failed: ImportError: no rdkit", error))
    with pytest.raises(PluginError, match=r"Its plugin may be missing: plugin 'm' \(m 1.0\) failed") as caught:
        registry.find("modalities", "molecule")
    assert caught.value.__cause__ is error
    assert registry.find("modalities", "image")


def test_the_plugin_that_would_have_given_it_is_blamed_alone(registry):
    registry.add_absent(Absent("plugin 'a' failed: A", ValueError("a")))
    theirs = ValueError("b")
    registry.add_absent(Absent("plugin 'b' failed: B", theirs, (spec("encoders", "gcn", "graph"),)))
    with pytest.raises(PluginError) as caught:
        registry.find("encoders", "gcn", "graph")
    assert str(caught.value) == "There is no encoder for modality 'graph' named 'gcn': plugin 'b' failed: B."
    assert caught.value.__cause__ is theirs


@pytest.mark.parametrize("modality", [None, "image"])
def test_a_taken_name_is_refused_and_nothing_of_its_plugin_is_added(registry, modality):
    both = [spec("encoders", "new", "image", "q", "e"), spec("encoders", "mlp", modality, "q", "e")]
    with pytest.raises(Conflict, match=r"'mlp' is registered by plugin 'p' \(d\) and by plugin 'q' \(e\)"):
        registry.add(both)
    assert "new" not in registry.names("encoders")


def test_one_plugin_cannot_register_a_name_twice(registry):
    with pytest.raises(Conflict):
        registry.add([spec("sources", "s"), spec("sources", "s")])


def test_a_register_collects_what_one_plugin_says():
    register = Register("encoders", "p", "d")
    register("vit", "pkg.vit:ViT", summary="patches", modality="image", requires=["timm"], extra="image")
    assert register.specs == [Spec("encoders", "vit", "pkg.vit:ViT", "patches", "p", "d", "image", ("timm",), "image")]


def test_a_missing_requirement_is_told_before_anything_is_imported():
    wants = spec(target="no.such.module:X", requires=("no_such_package", "json"), extra="molecules")
    assert wants.missing_packages() == ["no_such_package"]
    with pytest.raises(PluginError, match=r"needs no_such_package, which is not installed: run pip install 'd\[mol"):
        wants.load()
    with pytest.raises(PluginError, match="run pip install 'no_such_package'"):
        spec(requires=("no_such_package",)).load()


def test_a_submodule_is_looked_for_without_importing_its_package():
    sys.modules.pop("wsgiref", None)
    assert spec(requires=("wsgiref.simple_server",)).missing_packages() == []
    assert "wsgiref" not in sys.modules


@pytest.mark.parametrize(
    ("target", "cause", "said"),
    [
        ("no_such_module_x:X", ModuleNotFoundError, "ModuleNotFoundError"),
        ("json:NoSuch", AttributeError, "AttributeError"),
        ("leaves:X", SystemExit, "SystemExit: 2"),
    ],
)
def test_a_target_that_cannot_be_imported_raises_its_own_error(tmp_path, monkeypatch, target, cause, said):
    (tmp_path / "leaves.py").write_text("raise SystemExit(2)")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError, match=f"of plugin 'p' .d. cannot be loaded from {target}: {said}") as caught:
        spec(target=target).load()
    assert isinstance(caught.value.__cause__, cause)


def test_a_target_must_be_a_class_of_its_contract(monkeypatch):
    import sensorium

    module = types.ModuleType("made_targets")
    module.Wrong, module.function = type("Wrong", (), {}), lambda: None
    module.Right = type("Right", (sensorium.Objective,), {})
    monkeypatch.setitem(sys.modules, "made_targets", module)
    assert spec(target="made_targets:Right").load() is module.Right
    assert spec("commands", target="made_targets:function").load() is module.function
    for wrong in ("Wrong", "function"):
        with pytest.raises(PluginError, match=r"is not a subclass of sensorium.Objective"):
            spec(target=f"made_targets:{wrong}").load()
    with pytest.raises(PluginError, match=r"is not a subclass of sensorium.Encoder"):
        spec("encoders", target="made_targets:Right").load()


def test_listings_show_the_modality_where_there_is_one():
    assert spec("encoders", modality="image").public()["modality"] == "image"
    assert "modality" not in spec("objectives").public()
    assert spec(requires=("no_such_package",)).public()["missing"] == ["no_such_package"]
