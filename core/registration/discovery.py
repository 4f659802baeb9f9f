"""Plugin discovery: find entry points, load them, and collect their registrations.

Built-in plugins are loaded in the same way as installed ones and can be blocked like them. A plugin that fails to load
never stops the program: its error is kept, shown by `sensorium plugins`, and raised when a name that it would have
registered is looked up.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module, metadata
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from traceback import walk_tb
from typing import Any, Literal

import pluggy

import sensorium
from sensorium.errors import PluginError, did_you_mean
from sensorium.registration import hookspecs
from sensorium.registration.contract import contract_fault, deprecated_contract, is_outdated
from sensorium.registration.given import Given
from sensorium.registration.registry import (
    KINDS,
    SESSION,
    Absent,
    Conflict,
    Register,
    Registry,
    Spec,
    one_line,
    same_name,
)

GROUP = "sensorium"
FABRIC_GROUPS = ("lightning_fabric.callbacks_factory", "lightning.fabric.callbacks_factory")
"""Entry point groups that add callbacks to every `Fabric`, of `lightning_fabric` and of `lightning`."""
BUILTINS = {
    "commands": "sensorium.cli",
    "sources": "sensorium.data.plugin",
    "callbacks": "sensorium.callbacks.plugin",
    "loggers": "sensorium.loggers.plugin",
    "evaluators": "sensorium.evaluation.plugin",
    "exporters": "sensorium.exporters.plugin",
    "optimizers": "sensorium.optimizers.plugin",
    "tasks": "sensorium.finetuning.plugin",
    "recipes": "sensorium.recipe.plugin",
    "audio": "sensorium.modalities.audio",
    "graph": "sensorium.modalities.graph",
    "molecule": "sensorium.modalities.molecule",
    "image": "sensorium.modalities.image",
    "text": "sensorium.modalities.text",
    "timeseries": "sensorium.modalities.timeseries",
    "contrastive": "sensorium.plugins.contrastive",
    "crossmodal": "sensorium.plugins.crossmodal",
    "distillation": "sensorium.plugins.distillation",
    "infomax": "sensorium.plugins.infomax",
    "masked": "sensorium.plugins.masked",
    "openclip": "sensorium.plugins.openclip",
    "predictive": "sensorium.plugins.predictive",
    "pretext": "sensorium.plugins.pretext",
    "redundancy": "sensorium.plugins.redundancy",
    "samples": "sensorium.plugins.samples",
    "timm": "sensorium.plugins.timm",
}
"""The one list in core that names modalities and objectives: built-in plugin name to its module."""
ESSENTIAL = "commands"
"""The built-in plugin that cannot be blocked: without it there are no commands."""
VARIABLES = ("SENSORIUM_PLUGINS", "SENSORIUM_DISABLE_PLUGINS", "SENSORIUM_PLUGINS_STRICT")
"""The environment variables that choose among plugins."""
HOOKS = tuple(f"sensorium_register_{kind}" for kind in KINDS)
ATTRIBUTES = ("sensorium_api", "sensorium_samples", "sensorium_options", "sensorium_matrix")
"""Other attributes of a plugin's module: its contract version, inputs of the conformance kit and of the matrix."""

State = Literal["loaded", "blocked", "failed", "conflict", "incompatible"]


@dataclass
class Plugin:
    """One plugin and the result of loading it.

    Args:
        name: the entry point's name.
        module: its target, "module" or "module:object".
        distribution: the installed distribution it came with.
        version: that distribution's version.
        state: loaded, blocked (by a variable), failed (it raised), conflict (a name is taken) or incompatible
            (it was written for another plugin contract).
        reason: why it is not loaded, in one line.
        seconds: how long its import and registration took.
        registered: kind to the names it registered.
        error: the exception that it raised, if any.
    """

    name: str
    module: str
    distribution: str
    version: str
    state: State = "loaded"
    reason: str = ""
    seconds: float = 0.0
    registered: dict[str, list[str]] = field(default_factory=dict)
    error: BaseException | None = None

    @property
    def is_builtin(self) -> bool:
        """Whether the plugin is part of the sensorium distribution."""
        return BUILTINS.get(self.name) == self.module

    @property
    def is_broken(self) -> bool:
        """Whether loading the plugin failed."""
        return self.state not in ("loaded", "blocked")

    @property
    def sentence(self) -> str:
        """The plugin and its state, without a full stop."""
        how = {"blocked": "is blocked by", "failed": "failed:", "conflict": "is in conflict:"}
        state = f"{how.get(self.state, f'is {self.state}:')} {self.reason}" if self.reason else f"is {self.state}"
        return f"{self.label} {state}"

    @property
    def label(self) -> str:
        """What sentences call it: its name, distribution and version."""
        return f"plugin '{self.name}' ({self.distribution} {self.version})"

    def load(self) -> Any:
        """Import the plugin's module, or the object in it that the entry point names."""
        if not re.fullmatch(r"[\w.]+\s*(:\s*[\w.]+)?", self.module):
            raise PluginError(f"its entry point {self.module!r} is not 'module' or 'module:object'")
        return EntryPoint(self.name, self.module, GROUP).load()

    def public(self) -> dict[str, Any]:
        """Return plain values for listings and run folders."""
        keys = ("name", "state", "distribution", "version", "module", "reason", "registered")
        return {key: getattr(self, key) for key in keys} | {"milliseconds": round(self.seconds * 1000, 1)}


@dataclass
class Extensions:
    """The result of discovery: the plugins with their states, and the registry of everything that they register."""

    plugins: list[Plugin]
    registry: Registry

    def third_party(self) -> list[Plugin]:
        """Return the loaded plugins that are not built in."""
        return [p for p in self.plugins if p.state == "loaded" and not p.is_builtin]

    def declared(
        self, attribute: str, wanted: Callable[[str], bool] = lambda key: True, first: Plugin | None = None
    ) -> dict[str, Any]:
        """Return one of `ATTRIBUTES` that is a mapping, merged over the modules of all loaded plugins.

        Of a key that several declare, such as that of encoders of one name, the value of `first` counts, or else that
        of the plugin that was found before the others.

        A value that is wanted, by its key, is imported if it is a "module:attribute" string, and called if callable.
        One that needs an optional package that is not installed is left out.

        Raises:
            PluginError: when such a string names nothing, with the plugin.
        """
        found: dict[str, Any] = {}
        for plugin in sorted(self.plugins, key=lambda plugin: plugin is not first):
            if plugin.state == "loaded":
                for key, value in getattr(plugin.load(), attribute, {}).items():
                    if not wanted(key):
                        continue
                    try:
                        found.setdefault(key, declared_value(value))
                    except (ImportError, AttributeError, ValueError) as error:
                        if _lacks_package(error, plugin):
                            continue
                        where = f"The {plugin.label} declares {attribute} = {{{key!r}: {value!r}}}"
                        raise PluginError(f"{where}, and there is no such thing: {one_line(error)}.") from error
        return found

    def with_plugin(self, plugin: Plugin, specs: Sequence[Spec]) -> Extensions:
        """Return the same extensions and one plugin more, with what it registers.

        Raises:
            Conflict: when a name is taken.
        """
        registry = self.registry.copy()
        registry.add(specs)
        for spec in specs:
            plugin.registered.setdefault(spec.kind, []).append(spec.name)
        return Extensions([*self.plugins, plugin], registry)

    def with_given(self, given: Mapping[str, Given]) -> Extensions:
        """Return the same extensions and objects that were handed in, by the recipe keys that they stand for."""
        registry = self.registry.copy()
        registry.given = {**registry.given, **given}
        return Extensions(self.plugins, registry)

    def with_absent(self, absent: Absent) -> Extensions:
        """Return the same extensions and one more plugin that is not there, for errors about its names."""
        registry = self.registry.copy()
        registry.add_absent(absent)
        return Extensions(self.plugins, registry)

    def find(self, name: str) -> Plugin:
        """Return the plugin of that name, or the one of the distribution of that name.

        Raises:
            PluginError: when there is none, with the nearest name.
        """
        for plugin in self.plugins:
            if normalize(name) == normalize(plugin.name):
                return plugin
        for plugin in self.plugins:
            if normalize(name) == normalize(plugin.distribution) and not plugin.is_builtin:
                return plugin
        raise PluginError(_unknown(f"There is no plugin '{name}'", name, self.plugins))


def declared_value(value: Any) -> Any:
    """Return a value of one of `ATTRIBUTES`: imported if it is a "module:attribute" string, and called if callable."""
    if isinstance(value, str):
        module, _, name = value.partition(":")
        value = getattr(import_module(module), name)
    return value() if callable(value) else value


def _lacks_package(error: Exception, plugin: Plugin) -> bool:
    """Whether an error is of a package that is not installed, and not of a module that a plugin lacks itself."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return bool(missing) and str(missing).partition(".")[0] != plugin.module.partition(".")[0]


def normalize(name: str) -> str:
    """Return a name normalized as in PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


_kept: dict[tuple[object, ...], Extensions] = {}
"""What `load_extensions()` returned last, by the variables and import path that it depends on."""


def load_extensions(environ: Mapping[str, str] | None = None, found: Iterable[EntryPoint] | None = None) -> Extensions:
    """Return the plugins, discovered, filtered and registered.

    Without arguments that happens once in a process: the same object is returned as long as the variables and
    `sys.path` are the same, and nothing is registered in the session. With arguments everything is registered anew,
    apart from everything else.

    Args:
        environ: where `SENSORIUM_PLUGINS` (allow-list of third-party plugins; empty allows none),
            `SENSORIUM_DISABLE_PLUGINS` (block-list, built-ins included) and `SENSORIUM_PLUGINS_STRICT` (1 makes any
            plugin that is not loaded or blocked an error) are read; default `os.environ`.
        found: entry points to use in place of the installed ones.

    Raises:
        PluginError: when a variable names no plugin, or under strict loading.
    """
    if environ is not None or found is not None:
        return _discover(os.environ if environ is None else environ, found)
    key = (*map(os.environ.get, VARIABLES), *sys.path)
    if key not in _kept:
        forget_extensions()
        _kept[key] = _discover(os.environ)
    installed = _kept[key]
    return installed.with_plugin(_plugin_of_session(), _session) if _session else installed


def forget_extensions() -> None:
    """Let the next `load_extensions()` discover anew, as after an installation in this process."""
    _kept.clear()


_session: list[Spec] = []
"""What `sensorium.register` registered in this process, beside all plugins."""


def add_to_session(spec: Spec) -> None:
    """Register a part in this process, in place of one of the same name that was registered so before.

    Raises:
        Conflict: when a plugin has the name.
    """
    others = [other for other in _session if not same_name(spec, other)]
    before, _session[:] = list(_session), [*others, spec]
    try:
        load_extensions()
    except Conflict:
        _session[:] = before
        raise


def _plugin_of_session() -> Plugin:
    return Plugin(SESSION, __name__, f"this {SESSION}", "")


def _discover(environ: Mapping[str, str], found: Iterable[EntryPoint] | None = None) -> Extensions:
    outside = _installed() if found is None else [_plugin(point, point.dist) for point in found]
    plugins = [Plugin(name, module, "sensorium", sensorium.__version__) for name, module in BUILTINS.items()]
    # Sorted, so that of two plugins with one name the same one always comes first.
    plugins += sorted(outside, key=lambda p: (normalize(p.distribution), p.name, p.module))
    _block(plugins, environ)
    registry = Registry()
    first: dict[str, Plugin] = {}
    for plugin in plugins:
        if plugin.state == "loaded":
            _load(plugin, registry, first)
        else:
            registry.add_absent(Absent(plugin.sentence, plugin.error))
    if _strict(environ) and (broken := [plugin for plugin in plugins if plugin.is_broken]):
        states = "; ".join(plugin.sentence for plugin in broken)
        raise PluginError(f"SENSORIUM_PLUGINS_STRICT=1 requires every plugin, but {states}.") from broken[0].error
    return Extensions(plugins, registry)


def fabric_callbacks() -> list[dict[str, str]]:
    """Return the entry points by which installed distributions add callbacks to every `Fabric`.

    They are no plugins of sensorium, and its variables do not block them; listings show them for that reason.
    """
    found = []
    for dist in _distributions():
        try:
            points = [point for point in dist.entry_points if point.group in FABRIC_GROUPS]
        except Exception:  # unreadable metadata; Fabric itself raises
            continue
        name, version = _identity(dist)
        whose = {"distribution": name, "version": version}
        found += [{"name": p.name, "target": p.value, "group": p.group} | whose for p in points]
    return sorted(found, key=lambda entry: (entry["distribution"], entry["name"]))


def _distributions() -> Iterator[Distribution]:
    """Iterate over the installed distributions; of two with one name, over the one that imports would find."""
    seen: set[str] = set()
    for dist in metadata.distributions():
        name = normalize(_identity(dist)[0])
        if name not in seen:
            seen.add(name)
            yield dist


def _identity(dist: Distribution | None) -> tuple[str, str]:
    """Return the name and version of a distribution."""
    try:
        return dist.metadata["Name"] or "unknown", dist.version or "?"  # type: ignore[union-attr]
    except Exception:  # no distribution at all, or one whose metadata cannot be read
        return "unknown", "?"


def _plugin(point: EntryPoint, dist: Distribution | None) -> Plugin:
    return Plugin(point.name, point.value, *_identity(dist))


def _installed() -> list[Plugin]:
    """Return the plugins of all installed distributions.

    `importlib.metadata.entry_points` raises when any distribution has malformed entry points, of whichever group.
    """
    plugins = []
    for dist in _distributions():
        try:
            plugins += [_plugin(point, dist) for point in dist.entry_points.select(group=GROUP)]
        except Exception as error:
            if f"[{GROUP}]" in (dist.read_text("entry_points.txt") or ""):
                name, version = _identity(dist)
                reason = "its entry points cannot be read"
                plugins.append(Plugin(name, "", name, version, "failed", reason, error=error))
    return plugins


def _strict(environ: Mapping[str, str]) -> bool:
    value = environ.get("SENSORIUM_PLUGINS_STRICT", "0")
    if value not in ("", "0", "1"):
        raise PluginError(f"SENSORIUM_PLUGINS_STRICT is '{value}'; it can be 1 (strict) or 0.")
    return value == "1"


def _unknown(what: str, word: str, plugins: list[Plugin]) -> str:
    names = [p.name for p in plugins]
    suggestion = did_you_mean(word, dict.fromkeys([*names, *(p.distribution for p in plugins)]))
    return f"{what}{suggestion}{' There' if suggestion else '; there'} are: {', '.join(names) or 'none'}."


def _block(plugins: list[Plugin], environ: Mapping[str, str]) -> None:
    """Mark the plugins that the variables block; a plugin is named by its entry point or its distribution."""

    def chosen(variable: str, among: list[Plugin]) -> list[Plugin]:
        picked = []
        for word in filter(None, (word.strip() for word in environ[variable].split(","))):
            named = [p for p in among if normalize(word) in (normalize(p.name), normalize(p.distribution))]
            if not named:
                raise PluginError(_unknown(f"{variable} names '{word}', which is no such plugin", word, among))
            picked += named
        return picked

    def block(plugin: Plugin, variable: str) -> None:
        plugin.state, plugin.reason = "blocked", variable

    if "SENSORIUM_PLUGINS" in environ:
        outside = [p for p in plugins if not p.is_builtin]
        allowed = chosen("SENSORIUM_PLUGINS", outside)
        for plugin in outside:
            if plugin not in allowed:
                block(plugin, "SENSORIUM_PLUGINS")
    if "SENSORIUM_DISABLE_PLUGINS" in environ:
        for plugin in chosen("SENSORIUM_DISABLE_PLUGINS", [p for p in plugins if p.module != BUILTINS[ESSENTIAL]]):
            block(plugin, "SENSORIUM_DISABLE_PLUGINS")


def _load(plugin: Plugin, registry: Registry, first: dict[str, Plugin]) -> None:
    """Import one plugin, add what it registers to the registry, and set its state."""
    start = time.perf_counter()
    specs: list[Spec] = []
    try:
        if taken := first.get(normalize(plugin.name)):
            raise Conflict(
                f"two plugins are named '{taken.name}', one of distribution {taken.distribution} {taken.version}, "
                f"one of {plugin.distribution} {plugin.version}"
            )
        first[normalize(plugin.name)] = plugin
        module = plugin.load()
        asked = getattr(module, "sensorium_api", f"=={sensorium.API_VERSION}")
        if reason := contract_fault(asked):
            plugin.state, plugin.reason = "incompatible", reason
        else:
            if is_outdated(asked):
                deprecated_contract(plugin.label, asked)
            _register(plugin, module, specs)
            registry.add(specs)
            for spec in specs:
                plugin.registered.setdefault(spec.kind, []).append(spec.name)
    except KeyboardInterrupt:
        raise
    except Conflict as error:
        plugin.state, plugin.reason, plugin.error = "conflict", str(error), error
    except BaseException as error:  # a module may raise SystemExit, or pytest's Skipped
        plugin.state, plugin.error = "failed", error
        ours = isinstance(error, PluginError)
        plugin.reason = str(error).rstrip(".") if ours else one_line(error) + _place(error, plugin)
    plugin.seconds = time.perf_counter() - start
    if plugin.is_broken:
        registry.add_absent(Absent(plugin.sentence, plugin.error, tuple(specs)))


def _place(error: BaseException, plugin: Plugin) -> str:
    """Return " (FILE:LINE)" of the innermost line of a plugin's package that an error went through, if any."""
    package = plugin.module.partition(":")[0].partition(".")[0]
    own = [f for f in walk_tb(error.__traceback__) if f[0].f_globals.get("__name__", "").partition(".")[0] == package]
    return f" ({'/'.join(Path(own[-1][0].f_code.co_filename).parts[-2:])}:{own[-1][1]})" if own else ""


def _register(plugin: Plugin, module: Any, specs: list[Spec]) -> None:
    """Call the hooks of one plugin, and append what they register to `specs`.

    Each plugin has a manager of its own, so that every registration belongs to one plugin, no plugin sees another's
    and their order does not matter.
    """
    _check_hooks(module)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(module, name=plugin.name)
    for kind, hook in zip(KINDS, HOOKS, strict=True):
        register = Register(kind, plugin.name, plugin.distribution, specs)
        getattr(manager.hook, hook)(register=register)
    if not specs:
        raise PluginError("it registers nothing")


def _check_hooks(module: Any) -> None:
    """Refuse what pluggy ignores silently: a misspelled hook, an unmarked one and one without argument."""
    for name in dir(module):
        ours, value = name.startswith(f"{hookspecs.PROJECT}_"), inspect.getattr_static(module, name, None)
        marked = getattr(value, f"{hookspecs.PROJECT}_impl", None) is not None
        if name in HOOKS:
            if not marked:
                raise PluginError(f"its {name} is not marked with @sensorium.hookimpl")
            given, known = (inspect.signature(getattr(owner, name)) for owner in (module, hookspecs))
            if "register" not in given.parameters or not given.parameters.keys() <= known.parameters.keys():
                raise PluginError(f"its hook {name}{given} must have one argument, 'register'")
        elif marked or (ours and name not in ATTRIBUTES):
            contract = f"plugin contract {sensorium.API_VERSION}"
            raise PluginError(
                f"its '{name}' is no hook of {contract}{did_you_mean(name, (*HOOKS, *ATTRIBUTES)).rstrip('?')}"
            )
