"""Every state of a plugin, and the variables that choose among plugins."""

import json
import os
import subprocess
import sys

import pytest

import sensorium
from sensorium.deprecation import Deprecated
from sensorium.errors import PluginError
from sensorium.registration import discovery as ext, hookspecs
from sensorium.registration.contract import WORKING
from sensorium.registration.discovery import BUILTINS, load_extensions

HOOK = "from sensorium import hookimpl\n@hookimpl\ndef sensorium_register_objectives(register):\n    "


def state_of(name, found, environ=None):
    loaded = load_extensions(environ or {}, found)
    (plugin,) = [p for p in loaded.plugins if p.name == name]
    return plugin, loaded


def one(site, body, environ=None):
    """Install one plugin with this body, and return how its loading went."""
    site.install("made-up", "made", body)
    return state_of("made", site.found(), environ)


def test_a_sound_plugin_is_loaded_and_known_by_its_distribution(site, objective_body):
    plugin, loaded = one(site, objective_body("made-objective", "made_up"))
    assert (plugin.state, plugin.distribution, plugin.version, plugin.reason) == ("loaded", "made-up", "1.0", "")
    assert plugin.registered == {"objectives": ["made-objective"]}
    assert plugin.seconds > 0
    assert loaded.registry.find("objectives", "made-objective").distribution == "made-up"
    assert [p.name for p in loaded.third_party()] == ["made"]


def test_builtins_come_through_the_same_door():
    loaded = load_extensions({}, [])
    assert [p.name for p in loaded.plugins] == list(BUILTINS)
    assert all(p.is_builtin and p.version == sensorium.__version__ for p in loaded.plugins)
    assert loaded.third_party() == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import no_such_package_at_all", "ModuleNotFoundError: No module named 'no_such_package_at_all'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import pytest; pytest.skip('not here', allow_module_level=True)", "Skipped: not here"),
        ("raise ValueError('first line\\nsecond')", "ValueError: first line"),
        ("x = 1", "it registers nothing"),
        (HOOK + "pass", "it registers nothing"),
        (HOOK + "raise RuntimeError('in a hook')", "RuntimeError: in a hook"),
        (HOOK + "register('Bad Name', 'a:B', summary='x')", "a name has lowercase letters"),
        (HOOK + "register('x', 'a.b.C', summary='x')", "is not 'module:attribute'"),
        (HOOK + "register('x', 'a:B', summary=' ')", "the summary must be one line"),
        (HOOK + "register('x', 'a:B', summary='x', requires='rdkit')", "not the string 'rdkit'"),
        (HOOK + "register('x', 'a:B', summary='x', modality='image')", "only encoders and view generators"),
        (HOOK + "register('x', 'a:B')", "TypeError"),
        (HOOK.replace("objectives", "objectivs") + "pass", "did you mean 'sensorium_register_objectives'"),
        (HOOK.replace("@hookimpl\n", "") + "pass", "is not marked with @sensorium.hookimpl"),
        (HOOK.replace("(register)", "()") + "pass", "must have one argument, 'register'"),
        (HOOK.replace("(register)", "(registry)") + "pass", "sensorium_register_objectives(registry)"),
        (HOOK.replace("(register)", "(register, extra)") + "pass", "must have one argument, 'register'"),
        (
            HOOK.replace("sensorium_register", "register") + "pass",
            "'register_objectives' is no hook of plugin contract 1.4",
        ),
        ("sensorium_sampels = {}", "did you mean 'sensorium_samples'"),
        ("sensorium_api = 'one'", "'one', not versions of a plugin contract such as 1 or '>=1.1,<3'"),
        ("sensorium_api = True", "True, not versions of a plugin contract"),
        (
            HOOK + "register('x', 'a:B', summary='x', sumary='y')",
            "no argument 'sumary' in plugin contract 1.4, did you",
        ),
        (HOOK + "register('x', 'a:B', summary='x', qqq=1)", "'qqq' in plugin contract 1.4; a newer sensorium may have"),
    ],
)
def test_a_broken_plugin_is_failed_with_its_reason_and_stops_nothing(site, body, reason):
    plugin, loaded = one(site, body)
    assert plugin.state == "failed"
    assert reason in plugin.reason
    assert "\n" not in plugin.reason
    assert plugin.error is not None
    assert loaded.registry.find("objectives", "clip").plugin == "crossmodal"


def test_an_interrupt_at_import_passes_through(site):
    site.install("made-up", "made", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_extensions({}, site.found())


def test_asking_for_what_a_failed_plugin_may_have_given_raises_its_error(site):
    _, loaded = one(site, "import no_such_package_at_all")
    with pytest.raises(PluginError, match=r"plugin 'made' \(made-up 1.0\) failed: ModuleNotFoundError") as caught:
        loaded.registry.find("objectives", "made-objective")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_plugin_that_fails_in_its_second_hook_registers_nothing_but_is_named(site, objective_body):
    body = objective_body("made-objective", "made_up") + (
        "@hookimpl\ndef sensorium_register_sources(register):\n    raise OSError('no disk')\n"
    )
    plugin, loaded = one(site, body)
    assert plugin.state == "failed"
    assert plugin.registered == {}
    with pytest.raises(PluginError, match=r"no objective named 'made-objective': plugin 'made'.*no disk") as caught:
        loaded.registry.find("objectives", "made-objective")
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("asked", [1, ">=1", ">=1,<3", ">=1.1,<2", "~=1.0", "==1.1"])
def test_a_plugin_may_ask_for_a_range_of_contracts(site, objective_body, asked):
    plugin, _ = one(site, f"sensorium_api = {asked!r}\n" + objective_body("made-objective", "made_up"))
    assert (plugin.state, plugin.reason) == ("loaded", "")


def test_a_plugin_for_an_older_contract_that_still_works_is_loaded_with_a_warning(site, objective_body):
    with pytest.warns(Deprecated, match=r"plugin 'made' \(made-up 1.0\).*contract <1.1; it still works"):
        plugin, _ = one(site, "sensorium_api = '<1.1'\n" + objective_body("made-objective", "made_up"))
    assert plugin.state == "loaded"


def test_this_contract_is_the_last_of_those_that_work():
    assert WORKING[-1] == sensorium.API_VERSION


def test_a_hook_may_take_fewer_arguments_than_a_newer_contract_gives(site, objective_body, monkeypatch):
    @hookspecs.hookspec
    def newer(register, context):
        """Stand for a hook of a later version, with one more argument."""

    monkeypatch.setattr(hookspecs, "sensorium_register_objectives", newer)
    with pytest.warns(UserWarning, match="context"):  # what pluggy says of the call, which is of this version
        plugin, _ = one(site, objective_body("made-objective", "made_up"))
    assert plugin.state == "loaded"


@pytest.mark.parametrize(
    ("version", "upgrade"),
    [
        (99, "upgrade sensorium"),
        (0, "upgrade the plugin"),
        (">=1.9", "upgrade sensorium"),
        ("<1", "upgrade the plugin"),
    ],
)
def test_a_plugin_for_another_contract_is_incompatible(site, objective_body, version, upgrade):
    plugin, loaded = one(site, f"sensorium_api = {version!r}\n" + objective_body("made-objective", "made_up"))
    assert plugin.state == "incompatible"
    assert f"plugin contract {version}" in plugin.reason
    assert upgrade in plugin.reason
    with pytest.raises(PluginError, match="is incompatible"):
        loaded.registry.find("objectives", "made-objective")


def test_a_taken_name_is_a_conflict_that_names_both_distributions(site, objective_body):
    site.install("b-dist", "second", objective_body("made-objective", "b_dist"))
    site.install("a-dist", "first", objective_body("made-objective", "a_dist"))
    plugin, loaded = state_of("second", site.found())
    assert plugin.state == "conflict"
    assert "(a-dist)" in plugin.reason
    assert "(b-dist)" in plugin.reason
    assert plugin.registered == {}
    assert loaded.registry.find("objectives", "made-objective").distribution == "a-dist"


def test_a_name_of_a_builtin_is_taken(site, objective_body):
    plugin, loaded = one(site, objective_body("clip", "made_up"))
    assert plugin.state == "conflict"
    assert loaded.registry.find("objectives", "clip").distribution == "sensorium"


def test_what_a_plugin_in_conflict_registers_beside_the_taken_name_says_why_it_is_absent(site, objective_body):
    body = objective_body("clip", "made_up") + "    register('made-two', 'made_up.x:Y', summary='x')\n"
    _, loaded = one(site, body)
    with pytest.raises(PluginError, match=r"'made-two': plugin 'made' .* is in conflict: the objective 'clip'"):
        loaded.registry.find("objectives", "made-two")


def test_two_plugins_of_one_name_are_a_conflict_whatever_the_order_of_discovery(site, objective_body):
    site.install("a-dist", "same_name", objective_body("one", "a_dist"))
    site.install("b-dist", "same-name", objective_body("two", "b_dist"))
    for found in (site.found(), site.found()[::-1]):
        loaded = load_extensions({}, found)
        states = {p.distribution: p.state for p in loaded.plugins if not p.is_builtin}
        assert states == {"a-dist": "loaded", "b-dist": "conflict"}
    (second,) = [p for p in loaded.plugins if p.distribution == "b-dist"]
    assert "a-dist 1.0" in second.reason
    assert "b-dist 1.0" in second.reason


def test_an_entry_point_may_name_an_object(site):
    body = """
        from sensorium import hookimpl
        class Bundle:
            @hookimpl
            def sensorium_register_objectives(self, register):
                register("made-objective", "made_up.made:Made", summary="x")
        bundle = Bundle()
    """
    site.install("made-up", "unused", body)
    found = [sensorium.registration.discovery.EntryPoint("made", "made_up:bundle", "sensorium")]
    plugin, _ = state_of("made", found)
    assert (plugin.state, plugin.distribution) == ("loaded", "unknown")


def test_a_malformed_entry_point_is_a_failed_plugin():
    plugin, _ = state_of("made", [ext.EntryPoint("made", "no module!", "sensorium")])
    assert (plugin.state, plugin.reason) == (
        "failed",
        "its entry point 'no module!' is not 'module' or 'module:object'",
    )


def test_a_distribution_whose_entry_points_cannot_be_read_is_a_failed_plugin(site):
    site.describe("torn", "[sensorium]\nthis line has no equals sign\n")
    loaded = load_extensions({})
    (torn,) = [p for p in loaded.plugins if p.distribution == "torn"]
    assert (torn.state, torn.reason) == ("failed", "its entry points cannot be read")
    assert loaded.registry.find("objectives", "clip")


@pytest.mark.parametrize("word", ["made", "made-up", "Made_Up", "MADE.UP"])
def test_plugins_are_allowed_by_entry_point_or_distribution(site, objective_body, word):
    site.install("other", "other", objective_body("other", "other"))
    _, loaded = one(site, objective_body("made-objective", "made_up"), {"SENSORIUM_PLUGINS": f" {word} ,"})
    assert [p.name for p in loaded.third_party()] == ["made"]
    assert {p.name: p.reason for p in loaded.plugins if p.state == "blocked"} == {"other": "SENSORIUM_PLUGINS"}


def test_an_empty_allow_list_allows_no_third_party_plugin_and_all_builtins(site, objective_body):
    plugin, loaded = one(site, objective_body("made-objective", "made_up"), {"SENSORIUM_PLUGINS": ""})
    assert plugin.state == "blocked"
    assert "made_up" not in sys.modules
    assert loaded.third_party() == []
    assert loaded.registry.find("objectives", "clip")
    with pytest.raises(PluginError, match=r"plugin 'made' .* is blocked by SENSORIUM_PLUGINS"):
        loaded.registry.find("objectives", "made-objective")


def test_a_builtin_can_be_blocked(site):
    loaded = load_extensions({"SENSORIUM_DISABLE_PLUGINS": "crossmodal"}, [])
    with pytest.raises(PluginError, match=r"'crossmodal' .* is blocked by SENSORIUM_DISABLE_PLUGINS"):
        loaded.registry.find("objectives", "clip")


def test_all_builtins_but_the_commands_can_be_blocked_at_once():
    loaded = load_extensions({"SENSORIUM_DISABLE_PLUGINS": "sensorium"}, [])
    assert [p.name for p in loaded.plugins if p.state != "blocked"] == ["commands"]
    with pytest.raises(PluginError, match="names 'commands'"):
        load_extensions({"SENSORIUM_DISABLE_PLUGINS": "commands"}, [])


def test_the_block_list_is_stronger_than_the_allow_list(site, objective_body):
    environ = {"SENSORIUM_PLUGINS": "made", "SENSORIUM_DISABLE_PLUGINS": "made-up"}
    plugin, _ = one(site, objective_body("made-objective", "made_up"), environ)
    assert (plugin.state, plugin.reason) == ("blocked", "SENSORIUM_DISABLE_PLUGINS")


@pytest.mark.parametrize(
    ("variable", "word", "said"),
    [
        ("SENSORIUM_DISABLE_PLUGINS", "crosmodal", "did you mean 'crossmodal'"),
        ("SENSORIUM_PLUGINS", "maed", "did you mean 'made'"),
        ("SENSORIUM_PLUGINS", "qqqq", "there are: made"),
    ],
)
def test_a_name_that_is_no_plugin_is_an_error_with_the_nearest(site, objective_body, variable, word, said):
    with pytest.raises(PluginError, match=f"{variable} names '{word}'.*{said}"):
        one(site, objective_body("made-objective", "made_up"), {variable: word})


def test_strict_loading_raises_what_failed_and_accepts_what_is_blocked(site):
    site.install("made-up", "made", "import no_such_package_at_all")
    with pytest.raises(PluginError, match=r"'made' \(made-up 1.0\) failed") as caught:
        load_extensions({"SENSORIUM_PLUGINS_STRICT": "1", "SENSORIUM_DISABLE_PLUGINS": ""}, site.found())
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    with pytest.raises(PluginError, match="SENSORIUM_PLUGINS_STRICT is 'yes'"):
        load_extensions({"SENSORIUM_PLUGINS_STRICT": "yes"}, [])
    blocked = {"SENSORIUM_PLUGINS_STRICT": "1", "SENSORIUM_DISABLE_PLUGINS": "made,sensorium"}
    assert load_extensions(blocked, site.found()).third_party() == []


def test_two_loads_share_nothing(site, objective_body):
    site.install("made-up", "made", objective_body("made-objective", "made_up"))
    first, second = load_extensions({}, site.found()), load_extensions({}, [])
    assert first.registry.find("objectives", "made-objective")
    with pytest.raises(PluginError):
        second.registry.find("objectives", "made-objective")


def test_plugins_are_loaded_once_in_a_process_while_the_variables_are_the_same(site, monkeypatch):
    site.install("made-up", "made", "calls = []\n" + HOOK + "calls.append(register('x', 'a:B', summary='x'))")
    first = load_extensions()
    assert load_extensions() is first
    assert len(sys.modules["made_up"].calls) == 1
    monkeypatch.setenv("SENSORIUM_DISABLE_PLUGINS", "made")
    assert (first.find("made").state, load_extensions().find("made").state) == ("loaded", "blocked")


def test_a_plugin_is_found_by_entry_point_or_distribution(site, objective_body):
    _, loaded = one(site, objective_body("made-objective", "made_up"))
    assert loaded.find("made") is loaded.find("Made_Up")
    with pytest.raises(PluginError, match="no plugin 'mad', did you mean 'made'"):
        loaded.find("mad")


@pytest.mark.parametrize("group", ext.FABRIC_GROUPS)
def test_callbacks_that_packages_add_to_fabric_are_listed(site, group):
    site.describe("spy", f"[{group}]\nspy = spy.hooks:make\n", version="2.0")
    entry = {"name": "spy", "target": "spy.hooks:make", "group": group, "distribution": "spy", "version": "2.0"}
    assert entry in ext.fabric_callbacks()


def test_the_group_that_fabric_reads_is_among_those_listed():
    import inspect

    import lightning_fabric.fabric

    assert f'"{ext.FABRIC_GROUPS[0]}"' in inspect.getsource(lightning_fabric.fabric)


def test_an_installed_distribution_is_seen_by_the_program(site, objective_body):
    site.install("made-up", "made", objective_body("made-objective", "made_up"))
    site.install("broken-one", "broken", "import no_such_package_at_all")
    site.describe("spy", "[lightning_fabric.callbacks_factory]\nspy = spy.hooks:make\n")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("SENSORIUM_")} | {"PYTHONPATH": str(site.path)}

    def run(*arguments):
        command = [sys.executable, "-m", "sensorium", *arguments]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    listed = run("plugins", "--json")
    assert listed.returncode == 0, listed.stderr
    shown = json.loads(listed.stdout)
    plugins = {p["name"]: p for p in shown["plugins"]}
    assert plugins["made"]["state"] == "loaded"
    assert plugins["made"]["registered"] == {"objectives": ["made-objective"]}
    assert plugins["broken"]["state"] == "failed"
    assert plugins["broken"]["reason"].startswith("ModuleNotFoundError")
    assert "spy" in [entry["name"] for entry in shown["fabric_callbacks"]]
    assert "adds callbacks to every Fabric" in run("plugins").stdout
    asked = run("list", "objectives", "made-objective")
    assert (asked.returncode, "made_up.made" in asked.stderr) == (3, True)
    assert "Traceback" not in asked.stderr


def test_the_time_of_a_plugin_is_that_of_its_import_and_its_hooks_in_the_program(site):
    body = "import time\nimport sleepy.slow\n" + HOOK + "time.sleep(.15); register('x', 'a:B', summary='x')"
    site.install("sleepy", "sleepy", body, slow="import time\ntime.sleep(.15)\n")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("SENSORIUM_")} | {"PYTHONPATH": str(site.path)}
    command = [sys.executable, "-X", "importtime", "-m", "sensorium", "plugins", "--json"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    (sleepy,) = [p for p in json.loads(done.stdout)["plugins"] if p["name"] == "sleepy"]
    imports = [row for line in done.stderr.splitlines() if (row := line.split("|"))[-1].strip() == "sleepy.slow"]
    assert len(imports) == 1
    imported = int(imports[0][1]) / 1000
    assert imported > 150
    assert imported + 150 <= sleepy["milliseconds"] < imported + 450
