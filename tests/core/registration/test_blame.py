"""An exception inside a plugin's part names the plugin, the part and the line, whichever part it is."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import sensorium
from sensorium.errors import DataError, PluginError, SensoriumError
from sensorium.registration.blame import blame, naming_plugins, said
from sensorium.registration.discovery import load_extensions

HOOKS = """
    from sensorium import hookimpl

    @hookimpl
    def sensorium_register_modalities(register):
        register("broken", "made_up.parts:Decode", summary="x")

    @hookimpl
    def sensorium_register_encoders(register):
        register("broken", "made_up.parts:Encode", summary="x")
        register("sound", "frozen_plugin.data:MLP", summary="x")

    @hookimpl
    def sensorium_register_views(register):
        register("broken", "made_up.parts:Views", summary="x")
        register("sound", "frozen_plugin.data:Noise", summary="x")

    @hookimpl
    def sensorium_register_objectives(register):
        register("broken", "made_up.parts:Objective", summary="x")

    @hookimpl
    def sensorium_register_evaluators(register):
        register("broken", "made_up.parts:Evaluate", summary="x")

    @hookimpl
    def sensorium_register_sources(register):
        register("broken", "made_up.parts:Records", summary="x")

    @hookimpl
    def sensorium_register_exporters(register):
        register("broken", "made_up.parts:Export", summary="x")
"""
PARTS = """
    from frozen_plugin.data import MLP, Noise, Vector, Vectors
    from frozen_plugin.learning import Centroid, Contrast
    from frozen_plugin.leaving import Weights

    def lost(): return {}["lost"]

    class Decode(Vector):
        def decode(self, raw): return lost()
    class Encode(MLP):
        def forward(self, batch): return lost()
    class Views(Noise):
        def __call__(self, batch, rng): return [lost() for _ in range(2)]
    class Objective(Contrast):
        def forward(self, views, encode): return lost()
    class Evaluate(Centroid):
        def measure(self, test): return lost()
    class Records(Vectors):
        def __getitem__(self, index): return lost()
    class Export(Weights):
        def export(self, model, folder): return lost()
"""
LINE = "plugin 'made' (made-up 1.0), {} (made_up/parts.py:6)"
SOUND = ["modalities.frozen.encoder.name=sound", "modalities.frozen.views.name=sound"]


@pytest.fixture
def extensions(site, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "frozen"))
    site.install("made-up", "made", HOOKS, parts=PARTS)
    return load_extensions({}, [EntryPoint("frozen", "frozen_plugin", "sensorium"), *site.found()])


@pytest.mark.parametrize(
    ("overrides", "raised", "part"),
    [
        (["modalities.frozen.modality=broken", *SOUND], PluginError, "modality 'broken'"),
        (["modalities.frozen.modality=broken", *SOUND, "data.workers=1"], PluginError, "modality 'broken'"),
        (["modalities.frozen.encoder.name=broken"], KeyError, "encoder 'broken'"),
        (["modalities.frozen.views.name=broken"], KeyError, "view generator 'broken'"),
        (["objective={name: broken}"], KeyError, "objective 'broken'"),
        (["evaluate.evaluators.broken={name: broken, label: side}"], DataError, "evaluator 'broken'"),
        (["data.source={name: broken, count: 40}"], PluginError, "source 'broken'"),
    ],
)
def test_a_training_says_which_plugin_failed(extensions, tmp_path, overrides, raised, part):
    with pytest.raises(raised) as caught:
        sensorium.fit("frozen-recipe", overrides, run_dir=tmp_path / "run", extensions=extensions)
    assert f"It comes from {LINE.format(part)}." in caught.value.__notes__
    assert "lost" in said(caught.value)


def test_an_export_says_which_plugin_failed(extensions, tmp_path):
    overrides = ["train.epochs=1", "evaluate.baselines=off"]
    sensorium.fit("frozen-recipe", overrides, run_dir=tmp_path / "run", extensions=extensions, evaluate=False)
    with pytest.raises(KeyError) as caught:
        sensorium.export(tmp_path / "run", tmp_path / "out", "broken", extensions=extensions)
    assert caught.value.__notes__ == ["It comes from " + LINE.format("exporter 'broken'") + "."]


def test_a_sentence_that_a_plugin_raises_itself_is_no_defect(extensions, site):
    text = """
        from sensorium import SensoriumError

        def refuse():
            try:
                return {}["lost"]
            except KeyError as error:
                raise SensoriumError("There is no such column.") from error
    """
    site.install("other", "other", HOOKS.replace("broken", "other").replace("made_up", "other"), refusing=text)
    loaded = load_extensions({}, site.found())
    import other.refusing

    with pytest.raises(SensoriumError) as caught:
        other.refusing.refuse()
    assert blame(caught.value, loaded) is None


def test_what_no_plugin_takes_part_in_is_nobodys(extensions):
    with pytest.raises(ZeroDivisionError) as caught:
        naming_plugins(lambda: 1 / 0)()
    assert blame(caught.value, extensions) is None
    assert not hasattr(caught.value, "__notes__")
