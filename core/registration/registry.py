"""The registry: names, the plugins that registered them, and the lazy import of their classes.

Nothing here imports torch, nor any module that a spec points at, until `Spec.load` is called.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module, util
from typing import Any

import sensorium
from sensorium.errors import PluginError, did_you_mean, not_found
from sensorium.registration.given import Given

KINDS = (
    "modalities",
    "encoders",
    "views",
    "objectives",
    "sources",
    "splits",
    "tokenizers",
    "optimizers",
    "schedules",
    "callbacks",
    "loggers",
    "evaluators",
    "protocols",
    "tasks",
    "exporters",
    "recipes",
    "commands",
)
SINGULAR = {
    "modalities": "modality",
    "encoders": "encoder",
    "views": "view generator",
    "objectives": "objective",
    "sources": "source",
    "splits": "split",
    "tokenizers": "tokenizer",
    "optimizers": "optimizer",
    "schedules": "learning rate schedule",
    "callbacks": "callback",
    "loggers": "logger",
    "evaluators": "evaluator",
    "protocols": "evaluation protocol",
    "tasks": "fine-tuning task",
    "exporters": "exporter",
    "recipes": "recipe",
    "commands": "command",
}
CONTRACTS = {
    "modalities": "Modality",
    "encoders": "Encoder",
    "views": "ViewGenerator",
    "objectives": "Objective",
    "sources": "Source",
    "splits": "Split",
    "schedules": "Schedule",
    "tasks": "Task",
    "tokenizers": "Tokenizer",
    "callbacks": "Callback",
    "loggers": "Logger",
    "evaluators": "Evaluator",
    "protocols": "Protocol",
    "exporters": "Exporter",
}
"""The base class of each kind, among the public names of `sensorium`."""
FILLED: dict[str, int | tuple[str, ...]] = {
    "encoders": 1,
    "views": 1,
    "optimizers": ("learner", "lr", "weight_decay", "fused"),
    "tasks": ("label", "labels", "modality"),
}
"""Kind -> what is handed to a part beside its options: so many first arguments, or those of these names."""
SESSION = "session"
"""The plugin of what `sensorium.register` registers in a process."""
WORDS = {kind: "modality" if kind == "modalities" else kind.removesuffix("s") for kind in KINDS}
"""The word for one of a kind, in calls: `build("encoder", ...)`."""


def kind_named(word: str) -> str:
    """Return the kind that a word, singular or plural, names.

    Raises:
        PluginError: when there is none, with the nearest word.
    """
    found = {**{one: kind for kind, one in WORDS.items()}, **dict(zip(KINDS, KINDS, strict=True))}.get(word)
    if found is None:
        known = ", ".join(WORDS.values())
        raise PluginError(not_found(f"There is no kind of part '{word}'", word, WORDS.values(), f"kinds: {known}"))
    return found


def with_article(kind: str) -> str:
    """Return the singular of a kind with its article: "an objective"."""
    word = SINGULAR[kind]
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _installed(package: str) -> bool:
    top = package.partition(".")[0]  # the parent alone: finding a submodule would import its package
    return top in sys.modules or util.find_spec(top) is not None


def missing_packages(packages: Iterable[str]) -> list[str]:
    """Return those of the import names that are not installed."""
    return [name for name in packages if not _installed(name)]


def one_line(error: BaseException) -> str:
    """Return an error's type and the first line of its message, without a full stop."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


def serves(target: Any, contract: str) -> bool:
    """Whether an object is a subclass of a public class of `sensorium`."""
    return isinstance(target, type) and issubclass(target, getattr(import_module("sensorium"), contract))


@dataclass(frozen=True)
class Spec:
    """One registration.

    Args:
        kind: one of `KINDS`.
        name: the name that recipes and commands use.
        target: "module:attribute", imported at first use; or the object itself, of a part of this process.
        summary: one line for listings.
        plugin: name of the plugin that registered it.
        distribution: the installed distribution that the plugin came with.
        modality: the modality that an encoder or view generator belongs to; None serves every one.
        requires: import names of optional packages that the target needs.
        extra: the extra of `distribution` that installs them.
    """

    kind: str
    name: str
    target: str | Callable[..., Any]
    summary: str
    plugin: str
    distribution: str
    modality: str | None = None
    requires: tuple[str, ...] = ()
    extra: str | None = None

    @property
    def origin(self) -> str:
        """Where the target is defined, as "module:attribute"."""
        return self.target if isinstance(self.target, str) else f"{self.target.__module__}:{self.target.__qualname__}"

    @property
    def what(self) -> str:
        """What sentences call it: "encoder 'mlp' of modality 'rings'"."""
        return f"{SINGULAR[self.kind]} '{self.name}'" + (f" of modality '{self.modality}'" if self.modality else "")

    def missing_packages(self) -> list[str]:
        """Return the required packages that are not installed."""
        return missing_packages(self.requires)

    def load(self) -> Any:
        """Import the target and return it: a class of the kind's contract, or a command.

        Raises:
            PluginError: when a required package is missing, when the target cannot be imported (the target's own
                error is its cause), or when it is not a class of the contract.
        """
        what = f"The {SINGULAR[self.kind]} '{self.name}'"
        if absent := self.missing_packages():
            install = f"{self.distribution}[{self.extra}]" if self.extra else " ".join(absent)
            raise PluginError(f"{what} needs {', '.join(absent)}, which is not installed: run pip install '{install}'.")
        target: Any = self.target
        if isinstance(target, str):
            module, _, attribute = target.partition(":")
            try:
                target = getattr(import_module(module), attribute)
            except (Exception, SystemExit) as error:
                raise PluginError(
                    f"{what} of plugin '{self.plugin}' ({self.distribution}) cannot be loaded from {self.target}: "
                    f"{one_line(error)}."
                ) from error
        contract = CONTRACTS.get(self.kind)
        if contract and not serves(target, contract):
            raise PluginError(
                f"{what} of plugin '{self.plugin}' ({self.distribution}) is registered as {self.origin}, "
                f"which is not a subclass of sensorium.{contract}."
            )
        return target

    def public(self) -> dict[str, Any]:
        """Return what listings show."""
        shown = {
            "name": self.name,
            "summary": self.summary,
            "modality": self.modality,
            "requires": list(self.requires),
            "missing": self.missing_packages(),
            "plugin": self.plugin,
            "distribution": self.distribution,
            "target": self.origin,
        }
        return shown if self.kind in ("encoders", "views") else {k: v for k, v in shown.items() if k != "modality"}


class Conflict(Exception):
    """Two plugins registered one name."""


@dataclass
class Register:
    """The argument of a hook: registers parts of one kind for one plugin."""

    kind: str
    plugin: str
    distribution: str
    specs: list[Spec] = field(default_factory=list)

    def __call__(
        self,
        name: str,
        target: str | Callable[..., Any],
        *,
        summary: str,
        modality: str | None = None,
        requires: tuple[str, ...] | list[str] = (),
        extra: str | None = None,
        **unknown: object,
    ) -> None:
        """Register one part.

        Args:
            name: its name in recipes and commands: lowercase letters, digits, "-", "_" and ".".
            target: "module:attribute", imported at first use; for a recipe "package:file.yaml". A plugin gives no
                object itself, whose import would cost every listing its time; `sensorium.register` does.
            summary: one line for listings.
            modality: the modality that an encoder or view generator belongs to; None serves every one.
            requires: import names of optional packages that the target needs.
            extra: the extra of the plugin's distribution that installs them.
            unknown: what a newer version of the plugin contract may know: refused.

        Raises:
            ValueError: when an argument is invalid; the plugin's state is then "failed".
        """
        where = f"{SINGULAR[self.kind]} {name!r}"
        if not (isinstance(name, str) and re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name)):
            raise ValueError(f"{where}: a name has lowercase letters, digits, '-', '_' and '.' only")
        if not (self.plugin == SESSION or (isinstance(target, str) and re.fullmatch(r"[\w.]+:[\w.-]+", target))):
            raise ValueError(f"{where}: the target {target!r} is not 'module:attribute'")
        if not summary.strip() or "\n" in summary:
            raise ValueError(f"{where}: the summary must be one line")
        if modality is not None and self.kind not in ("encoders", "views"):
            raise ValueError(f"{where}: only encoders and view generators belong to a modality")
        if isinstance(requires, str):
            raise ValueError(f"{where}: requires is a list of import names, not the string {requires!r}")
        for word in unknown:
            raise ValueError(
                not_found(
                    f"{where}: register has no argument '{word}' in plugin contract {sensorium.API_VERSION}",
                    word,
                    ("summary", "modality", "requires", "extra"),
                    "a newer sensorium may have it: upgrade, or leave it out",
                )
            )
        self.specs.append(
            Spec(self.kind, name, target, summary, self.plugin, self.distribution, modality, tuple(requires), extra)
        )


@dataclass(frozen=True)
class Absent:
    """A plugin that could not be loaded, for errors about the names that it would have registered.

    Args:
        sentence: the plugin's name and why, without a full stop.
        error: the exception that it raised, if any.
        specs: its registrations before it failed.
    """

    sentence: str
    error: BaseException | None = None
    specs: tuple[Spec, ...] = ()


class Registry:
    """Every spec that the loaded plugins registered, by kind, modality and name.

    Encoders and view generators of different modalities may share a name; everything else is unique in its kind.
    """

    def __init__(self) -> None:
        self._specs: list[Spec] = []
        self._absent: list[Absent] = []
        self.given: Mapping[str, Given] = {}
        """Recipe key -> the object that was handed in for it."""

    def add(self, specs: Iterable[Spec]) -> None:
        """Add all specs of one plugin, or none of them.

        Raises:
            Conflict: when a name is taken; the message names both distributions.
        """
        new: list[Spec] = []
        for spec in specs:
            for taken in (*self._specs, *new):
                if same_name(spec, taken):
                    raise Conflict(
                        f"the {SINGULAR[spec.kind]} '{spec.name}' is registered by plugin '{taken.plugin}' "
                        f"({taken.distribution}) and by plugin '{spec.plugin}' ({spec.distribution})"
                    )
            new.append(spec)
        self._specs += new

    def copy(self) -> Registry:
        """Return a registry of the same specs."""
        copied = Registry()
        copied._specs, copied._absent, copied.given = list(self._specs), list(self._absent), dict(self.given)
        return copied

    def add_absent(self, absent: Absent) -> None:
        """Add a plugin that could not be loaded."""
        self._absent.append(absent)

    def specs(self, kind: str) -> Iterator[Spec]:
        """Iterate over the specs of one kind, by modality and name."""
        chosen = [spec for spec in self._specs if spec.kind == kind]
        return iter(sorted(chosen, key=lambda spec: (spec.modality or "", spec.name)))

    def names(self, kind: str, modality: str | None = None) -> list[str]:
        """Return the registered names of one kind, each once, of `modality` and of every modality."""
        return list(dict.fromkeys(s.name for s in self.specs(kind) if modality is None or _for(s, modality)))

    def of_session(self) -> list[Spec]:
        """Return what `sensorium.register` registered in this process."""
        return [spec for spec in self._specs if spec.plugin == SESSION]

    def name_of(self, modality: object) -> str | None:
        """Return the name of the registered modality of which an object is an instance; None when it is of none."""
        imported = (spec for spec in self.specs("modalities") if spec.origin.partition(":")[0] in sys.modules)
        return next((spec.name for spec in imported if spec.load() is type(modality)), None)

    def find(self, kind: str, name: str, modality: str | None = None) -> Spec:
        """Return the spec of that name; for encoders and views, the one of `modality`.

        Without `modality` the name alone must be enough.

        Raises:
            PluginError: when there is none, with the nearest name and the modalities that have the name. If a
                plugin that is not loaded registers it, or may, the message names it and its error is the cause.
        """
        named = [s for s in self.specs(kind) if s.name == name]
        fitting = [s for s in named if modality is None or _for(s, modality)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            belongs = ", ".join(f"{s.modality}" for s in fitting)
            raise PluginError(
                f"'{name}' is {with_article(kind)} of several modalities: name one by --modality, of {belongs}."
            )
        what = SINGULAR[kind] + (f" for modality '{modality}'" if modality else "")
        for absent in self._absent:
            for s in absent.specs:
                if (s.kind, s.name) == (kind, name) and (modality is None or _for(s, modality)):
                    raise PluginError(f"There is no {what} named '{name}': {absent.sentence}.") from absent.error
        known = self.names(kind, modality)
        if named:
            belongs = ", ".join(f"'{s.modality}'" for s in named)
            raise PluginError(
                f"'{name}' is {with_article(kind)} for modality {belongs}, not for '{modality}'; "
                f"for '{modality}' there are: {', '.join(known) or 'none'}."
            )
        suggestion = did_you_mean(name, known)
        listed = f"{' Known' if suggestion else '; known'}: {', '.join(known) or 'none'}."
        blame = f" Its plugin may be missing: {'; '.join(a.sentence for a in self._absent)}." if self._absent else ""
        cause = next((absent.error for absent in self._absent if absent.error), None)
        raise PluginError(f"There is no {what} named '{name}'{suggestion}{listed}{blame}") from cause


def _for(spec: Spec, modality: str) -> bool:
    return spec.modality in (None, modality)


def same_name(one: Spec, other: Spec) -> bool:
    """Whether two specs cannot stand in one registry."""
    if (one.kind, one.name) != (other.kind, other.name):
        return False
    return one.modality is None or other.modality is None or one.modality == other.modality
