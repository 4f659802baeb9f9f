"""Objects that a caller hands in, as parts: modules, functions and instances, in place of registered names."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import torch
from torch import Generator, nn
from torch.nn.parameter import is_lazy
from torch.random import fork_rng

from sensorium.contracts import Callback, Encoder, Evaluator, Modality, Objective, Schedule, ViewGenerator
from sensorium.errors import RecipeError, not_found
from sensorium.models.plain_parts import FunctionViews, ModuleEncoder, TokenModuleEncoder, shown
from sensorium.parallel import collectives
from sensorium.recipe.merging import leaves, merged, numbered
from sensorium.recipe.parts import OF_TERM, Part
from sensorium.recipe.reading import unvalidated, validated
from sensorium.recipe.schema import Optimizer, Recipe
from sensorium.registration.discovery import Extensions
from sensorium.registration.given import CLASS, GIVEN, Given, described, missing, origin_of
from sensorium.registration.registry import Registry
from sensorium.types import Batch


def share_given(registry: Registry) -> None:
    """Let modules that every rank was handed begin with the weights of rank 0's; collective."""
    for part in registry.given.values():
        if isinstance(part.module, nn.Module) and collectives.world_size() > 1:
            part.module.load_state_dict(collectives.broadcast(part.module.state_dict()))


def given_parts(objects: Mapping[str, Any], towers: list[str]) -> dict[str, Given | Part]:
    """Return what was handed in by the recipe keys that it stands for.

    Args:
        objects: by the names of `PARTS`; None stands for nothing.
        towers: the modalities of the recipe, by which those of a mapping are named.

    Returns:
        Recipe key -> the part: `Given` for an object, `Part` for a name, or a mapping of name and options.

    Raises:
        RecipeError: for an object that is no such part.
    """
    parts: dict[str, Given | Part] = {}
    for kind, handed in objects.items():
        if kind not in PARTS:
            raise RecipeError(
                not_found(f"There is no part '{kind}' to hand in", kind, PARTS, f"parts: {', '.join(PARTS)}")
            )
        for path, one in _places(kind, handed, towers).items() if handed is not None else ():
            what = f"The {described(path)}"
            if _is_named(one):
                parts[path] = Part.model_validate(one)
            elif isinstance(one, Mapping) and "name" in one and path.startswith("objective."):
                said = {key: value for key, value in one.items() if key != "name"}
                if options := [key for key in said if key not in OF_TERM]:
                    raise RecipeError(
                        f"{what} is an object, whose options are set already, so that {', '.join(options)} cannot "
                        f"stand beside it; beside an object stand {', '.join(OF_TERM)}."
                    )
                parts[path] = replace(PARTS[kind](what, one["name"]), said=said)
            else:
                parts[path] = PARTS[kind](what, one)
    return parts


def _places(kind: str, handed: Any, towers: list[str]) -> dict[str, Any]:
    """Return what was handed in as one kind of part by recipe key; a single object is that of the only tower."""
    if kind == "evaluators":
        return {f"evaluate.evaluators.{name}": _of_key(name, one) for name, one in _by_name(handed).items()}
    if kind == "callbacks":
        return {f"callbacks.{name}": _of_key(name, one) for name, one in _by_name(handed).items()}
    if kind == "objective" and isinstance(handed, list):
        return {f"objective.{number}": one for number, one in enumerate(handed)}
    if kind not in OF_TOWER:
        return {_KEY.get(kind, kind): handed}
    if isinstance(handed, Mapping) and not _is_named(handed):
        return {
            path: part
            for tower, one in handed.items()
            for path, part in _of_tower(f"modalities.{tower}.{kind}", one).items()
        }
    if len(towers) != 1:
        there = f"{len(towers)} modalities ({', '.join(towers)})" if towers else "no modality"
        raise RecipeError(f"The recipe has {there}: hand in {kind}= as a mapping of modality names, {{'NAME': ...}}.")
    return _of_tower(f"modalities.{towers[0]}.{kind}", handed)


def _of_tower(path: str, handed: Any) -> dict[str, Any]:
    """Return what was handed in for a tower by recipe key; view generators may be several."""
    is_several = isinstance(handed, list) and path.endswith(".views")
    return {f"{path}.{number}": one for number, one in enumerate(handed)} if is_several else {path: handed}


_KEY = {"schedule": "optimizer.schedule"}
"""The recipe keys of parts that have another name as an argument."""


def _by_name(handed: Any) -> Mapping[str, Any]:
    """Return callbacks or evaluators by name: one, or each of a sequence, by its own name or that of its class."""
    if isinstance(handed, Mapping) and not _is_named(handed):
        return handed
    named: dict[str, Any] = {}
    for one in handed if isinstance(handed, Sequence) and not isinstance(handed, str) else [handed]:
        cls = one if isinstance(one, type) else type(one)
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()
        if _is_named(one):
            name = one if isinstance(one, str) else one["name"]
        same = sum(other == name or other.startswith(f"{name}-") for other in named)
        named[f"{name}-{same + 1}" if same else name] = one
    return named


def _of_key(name: str, handed: Any) -> Any:
    """Return an entry that may leave its name to its key, as in a recipe, with the name."""
    is_options = handed is None or (isinstance(handed, Mapping) and "name" not in handed)
    return {"name": name, **(handed or {})} if is_options else handed


def _is_named(handed: Any) -> bool:
    """Whether a part is handed in as it stands in a recipe, by its name or as a mapping of name and options."""
    return isinstance(handed, str) or (isinstance(handed, Mapping) and isinstance(handed.get("name"), str))


def _check_call(what: str, handed: Callable[..., Any], arguments: tuple[str, ...], advice: str) -> None:
    """Check that a function or a class takes what it will be called with.

    Raises:
        RecipeError: when it does not, with what to hand in.
    """
    try:
        signature = inspect.signature(handed)
    except (TypeError, ValueError):  # of a few functions in C nothing is known
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        called = f"called with ({', '.join(arguments)})" if arguments else "called without arguments"
        taken = ", ".join(map(str, signature.parameters.values()))
        raise RecipeError(f"{what}, {origin_of(handed)}, is {called}, but takes ({taken}): {advice}.") from error


def _modality(what: str, handed: Any) -> Given:
    if not isinstance(handed, Modality):
        raise RecipeError(f"{what} is {shown(handed)}: hand in an instance of a sensorium.Modality.")
    return Given(type(handed), partial(copy.deepcopy, handed), origin_of(handed))


def _encoder(what: str, handed: Any) -> Given:
    """Return what makes the encoder of a tower.

    A module is copied whenever an encoder is made: the caller's own keeps its weights, and every training with it
    begins with the same ones. A class or a function is called, with the modality if it takes an argument.
    """
    if isinstance(handed, nn.Module):
        if any(map(is_lazy, handed.parameters())):
            raise RecipeError(f"{what}, {origin_of(handed)}, has lazy layers without weights: run it on a batch first.")
        kept, cls = _copy(what, handed), _encoder_class(type(handed))
        if issubclass(cls, ModuleEncoder):
            return Given(
                cls, lambda modality, **sizes: cls(modality, copy.deepcopy(kept), **sizes), origin_of(handed), kept
            )
        return Given(cls, lambda modality: copy.deepcopy(kept), origin_of(handed), kept)
    if not callable(handed):
        raise RecipeError(
            f"{what} is {shown(handed)}: hand in a torch.nn.Module, or a class or function that returns one."
        )
    made_by = _with_modality(handed)
    _check_call(
        what,
        handed,
        ("modality",) if made_by is handed else (),
        "hand in a module, or a function of the modality, or of nothing, that returns one",
    )
    cls = _encoder_class(_returned(handed, made_by))

    def make(modality: Modality, **sizes: Any) -> Encoder:
        made = made_by(modality)
        if isinstance(made, Encoder):
            return made
        if not isinstance(made, nn.Module):
            raise RecipeError(f"{what}, {origin_of(handed)}, returned {shown(made)}, not a torch.nn.Module.")
        kind: Any = _encoder_class(type(made))
        return kind(modality, made, **sizes)

    return Given(cls, make, origin_of(handed))


def _encoder_class(module: type) -> Any:
    """Return the class of the encoder that a module is, or that is made around it."""
    if issubclass(module, Encoder):
        return module
    has_tokens = all(callable(getattr(module, name, None)) for name in ("tokenize", "encode_tokens"))
    return TokenModuleEncoder if has_tokens else ModuleEncoder


def _with_modality(function: Callable[..., Any]) -> Callable[[Modality], Any]:
    """Return a class or function that is called with the modality, whether or not it takes it."""
    required = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    takes = any(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in required)
    return function if takes else lambda modality: function()


def _returned(function: Callable[..., Any], made_by: Callable[[Modality], Any]) -> type:
    """Return the class of what a function returns: as it is annotated, or else as one call shows.

    One that takes the modality and is not annotated is not called: the modality may not be fitted yet.
    """
    if isinstance(function, type):
        return function
    annotated = get_type_hints(function).get("return") if inspect.isfunction(function) else None
    if isinstance(annotated, type):
        return annotated
    if made_by is function:
        return nn.Module
    with fork_rng(devices=[]):
        return type(function())


def _views(what: str, handed: Any) -> Given:
    if isinstance(handed, ViewGenerator):
        kept = _copy(what, handed)
        return Given(type(handed), lambda modality, **facts: copy.deepcopy(kept), origin_of(handed))
    if isinstance(handed, type) and issubclass(handed, ViewGenerator):
        _check_call(what, handed, ("modality",), "hand in an instance")
        return Given(handed, lambda modality, **facts: handed(modality), origin_of(handed))
    if not callable(handed):
        raise RecipeError(
            f"{what} is {shown(handed)}: hand in a sensorium.ViewGenerator, or a function of a batch that "
            "returns its views."
        )
    _check_call(what, handed, ("batch",), "hand in a function of one argument, the batch, that returns its views")
    return Given(FunctionViews, lambda modality, **facts: FunctionViews(modality, handed, **facts), origin_of(handed))


def _objective(what: str, handed: Any) -> Given:
    if isinstance(handed, Objective):
        if handed.is_built:
            raise RecipeError(
                f"{what} is a {type(handed).__name__} that is built already, for another learner: hand in a "
                "new one, whose heads are made for this one."
            )
        kept = _copy(what, handed)
        return Given(type(handed), partial(copy.deepcopy, kept), origin_of(handed), kept)
    if isinstance(handed, type) and issubclass(handed, Objective):
        _check_call(what, handed, (), "hand in an instance")
        return Given(handed, handed, origin_of(handed))
    if not callable(handed):
        raise RecipeError(f"{what} is {shown(handed)}: hand in a sensorium.Objective, or what returns a new one.")
    if _is_loss(handed):
        raise RecipeError(
            f"{what}, {origin_of(handed)}, is a loss or another module, not an objective: hand in a "
            "sensorium.Objective whose `forward` computes it, or the name of one that does; `sensorium list "
            "objectives` shows them."
        )
    _check_call(what, handed, (), "hand in a sensorium.Objective, or a function of nothing that returns a new one")
    with fork_rng(devices=[]):
        made = handed()
    if not isinstance(made, Objective):
        raise RecipeError(f"{what}, {origin_of(handed)}, returned {shown(made)}, not a sensorium.Objective.")
    return Given(type(made), handed, origin_of(handed))


def _is_loss(handed: Any) -> bool:
    """Whether something is a module, or a loss function of this package or of torch."""
    is_module = isinstance(handed, nn.Module) or (isinstance(handed, type) and issubclass(handed, nn.Module))
    return is_module or origin_of(handed).startswith(("sensorium.losses", "torch.nn.functional"))


def _evaluator(what: str, handed: Any) -> Given:
    if isinstance(handed, Evaluator):
        return Given(type(handed), partial(copy.deepcopy, _copy(what, handed)), origin_of(handed))
    if isinstance(handed, type) and issubclass(handed, Evaluator):
        _check_call(what, handed, (), "hand in an instance")
        return Given(handed, handed, origin_of(handed))
    raise RecipeError(f"{what} is {shown(handed)}: hand in a sensorium.Evaluator, or a class of such.")


def _callback(what: str, handed: Any) -> Given:
    """Return what makes a callback; an instance is called itself, so that the caller reads from it what it has seen."""
    if isinstance(handed, Callback):
        return Given(type(handed), lambda: handed, origin_of(handed))
    if isinstance(handed, type) and issubclass(handed, Callback):
        _check_call(what, handed, (), "hand in an instance")
        return Given(handed, handed, origin_of(handed))
    raise RecipeError(f"{what} is {shown(handed)}: hand in a sensorium.Callback, or a class of such.")


def _optimizer(what: str, handed: Any) -> Given:
    """Return what makes the optimizer: called with the learner, or with its trainable parameters if it names these."""
    if isinstance(handed, torch.optim.Optimizer):
        raise RecipeError(
            f"{what} is an instance of {type(handed).__name__}, which holds parameters that this training does not "
            f"train: hand in a function, such as lambda params: torch.optim.{type(handed).__name__}(params, lr=...)."
        )
    if not callable(handed) or not (taken := list(inspect.signature(handed).parameters)):
        raise RecipeError(f"{what} is {shown(handed)}: hand in a function of parameters that returns an optimizer.")

    def make(learner: nn.Module, **settings: Any) -> torch.optim.Optimizer:
        trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
        takes_parameters = taken[0].startswith("param")
        first: Any = trained if takes_parameters else learner
        try:
            return handed(first, **{key: value for key, value in settings.items() if key in taken and key != "fused"})
        except (TypeError, AttributeError) as error:
            given = "the trainable parameters" if takes_parameters else "the learner"
            raise RecipeError(
                f"{what}, {origin_of(handed)}, failed when it was called with {given} as '{taken[0]}' ({error}): a "
                'function whose first argument has a name that begins with "param" is called with the trainable '
                "parameters, any other with the learner, a torch.nn.Module."
            ) from error

    return Given(torch.optim.Optimizer, make, origin_of(handed))


def _schedule(what: str, handed: Any) -> Given:
    right = (
        "hand in a function of (step, steps) that returns the factor of the learning rate, such as "
        "lambda step, steps: 1 - step / steps"
    )
    if isinstance(handed, type):
        if not issubclass(handed, Schedule):
            raise RecipeError(f"{what} is the class {origin_of(handed)}, which is no sensorium.Schedule: {right}.")
        _check_call(what, handed, (), "hand in an instance")
        return Given(handed, handed, origin_of(handed))
    if not callable(handed):
        raise RecipeError(f"{what} is {shown(handed)}: {right}.")
    _check_call(what, handed, ("step", "steps"), right)
    return Given(Schedule, lambda: handed, origin_of(handed))


OF_TOWER = ("modality", "views", "encoder")
PARTS: dict[str, Callable[[str, Any], Given]] = {
    "modality": _modality,
    "views": _views,
    "encoder": _encoder,
    "objective": _objective,
    "evaluators": _evaluator,
    "optimizer": _optimizer,
    "schedule": _schedule,
    "callbacks": _callback,
}
"""What can be handed in, by the arguments of `sensorium.fit`, and what makes a part out of it."""


def _copy(what: str, handed: Any) -> Any:
    """Return a copy of an object, as it is when it is handed in.

    Raises:
        RecipeError: when it cannot be copied.
    """
    try:
        return copy.deepcopy(handed)
    except Exception as error:
        raise RecipeError(
            f"{what} cannot be copied ({error}): hand in a class or a function that makes a new one."
        ) from error


class AbsentViews(ViewGenerator):
    """Stands for a view generator that was handed in to a training, where its run is read without it."""

    def __init__(self, modality: Modality, sentence: str, **facts: Any) -> None:
        self._sentence = sentence
        for name, value in facts.items():
            setattr(self, name, value)

    def __call__(self, batch: Batch, rng: Generator) -> NoReturn:
        """Say what to hand in."""
        raise RecipeError(self._sentence)


def stand_in(kind: str, path: str, origin: str) -> Given:
    """Return what stands for a part that was handed in once, and is not now.

    Whoever embeds needs no views, and no evaluator that is not asked for: these raise the error when they are used.

    Raises:
        RecipeError: for any other part, with what to hand in.
    """
    sentence = missing({path: origin})

    def refuse(*first: Any, **facts: Any) -> NoReturn:
        raise RecipeError(sentence)

    if kind == "views":
        return Given(AbsentViews, partial(AbsentViews, sentence=sentence), origin)
    if kind in ("evaluators", "optimizers", "schedules", "callbacks"):
        return Given(object, refuse, origin)
    raise RecipeError(sentence)


def noted(recipe: Recipe, generators: Mapping[str, Sequence[ViewGenerator]]) -> Recipe:
    """Return a recipe that notes what others must know of the view generators that were handed in."""
    towers = {}
    for name, tower in recipe.modalities.items():
        parts = [
            part if part.handed_in is None else part.model_copy(update=_facts_of(generator))
            for part, generator in zip(tower.generators().values(), generators[name], strict=True)
        ]
        views = parts if isinstance(tower.views, list) else parts[0]
        towers[name] = tower.model_copy(update={"views": views})
    return recipe.model_copy(update={"modalities": towers})


def _facts_of(generator: ViewGenerator) -> dict[str, Any]:
    return {f: value for f in _FACTS if (value := getattr(generator, f)) != getattr(ViewGenerator, f)}


_FACTS = ("views", "negative_views", "target", "classes", "per_token")


def read_given(
    recipe: Recipe | Mapping[str, Any] | str | Path | None,
    extensions: Extensions,
    overrides: Sequence[str],
    objects: Mapping[str, Any],
) -> tuple[Recipe, Extensions]:
    """Return the validated recipe in which the objects that were handed in stand, and extensions that have them.

    Args:
        recipe: as `read_recipe` takes it; None for one that says nothing.
        extensions: has the shipped recipes.
        overrides: `key.sub=value` texts.
        objects: as `given_parts` takes them.

    Raises:
        RecipeError: for an object that is no such part, or when the recipe is not whole with the objects.
    """
    raw, origin = unvalidated({"data": {}} if recipe is None else recipe, extensions.registry, overrides)
    named = [handed for kind in OF_TOWER if isinstance(handed := objects.get(kind), Mapping) and not _is_named(handed)]
    towers = dict.fromkeys(tower for some in (raw.get("modalities") or {}, *named) for tower in some)
    parts = given_parts(objects, list(towers))
    for path in dict.fromkeys(path.rpartition(".")[0] for path in parts if path.rpartition(".")[2].isdigit()):
        raw = _with_empty_list(raw, path.split("."))
    for path, part in parts.items():
        own = in_recipe(part)
        if path == "optimizer":  # learning rate, weight decay and schedule are the recipe's, whichever optimizer it is
            own = {key: raw[path][key] for key in Optimizer.model_fields if key in raw.get(path, {})} | own
        for key in reversed(path.split(".")):
            own = {key: own}
        raw = merged(raw, own)
    return validated(Recipe, raw, origin, overrides), extensions.with_given(objects_of(parts))


def _with_empty_list(raw: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Return a raw recipe with an empty list at a key, for the objects of a list that is handed in."""
    first, *rest = keys
    return {**raw, first: _with_empty_list(raw.get(first) or {}, rest) if rest else []}


def in_recipe(part: Given | Part) -> dict[str, Any]:
    """Return how a part stands in a recipe."""
    return part.in_recipe() if isinstance(part, Given) else part.model_dump(mode="json")


def objects_of(parts: Mapping[str, Given | Part]) -> dict[str, Given]:
    """Return those of the parts that are objects."""
    return {path: part for path, part in parts.items() if isinstance(part, Given)}


def given_again(recipe: Recipe, extensions: Extensions, objects: Mapping[str, Any]) -> Extensions:
    """Return extensions that have the objects of a run's recipe.

    Raises:
        RecipeError: for an object whose part the recipe names.
    """
    parts = given_parts(objects, list(recipe.modalities))
    expected = dict(handed_in_parts(recipe))
    for path, part in parts.items():
        is_named_in_list = isinstance(part, Part) and path.rpartition(".")[2].isdigit()
        if path not in expected and not is_named_in_list:
            raise RecipeError(
                f"The {described(path)} is a registered part in the run's recipe, and no object that was handed in: "
                "leave it out."
            )
    return extensions.with_given(objects_of(parts))


def require_given(recipe: Recipe, registry: Registry, kinds: Collection[str] = tuple(PARTS)) -> None:
    """Check that what was handed in to the training of a recipe is at hand.

    Args:
        recipe: the recipe.
        registry: has what is handed in now.
        kinds: the parts that are needed, of `PARTS`.

    Raises:
        RecipeError: with what to hand in.
    """
    absent = {
        path: origin
        for path, origin in handed_in_parts(recipe)
        if path not in registry.given and not set(kinds).isdisjoint(path.split("."))
    }
    if absent:
        raise RecipeError(missing(absent))


def handed_in_parts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Iterate over the recipe keys of the parts that were handed in, and the classes that are noted."""
    plain = dict(leaves(numbered(recipe.plain())))
    for path, value in plain.items():
        part, _, key = path.rpartition(".")
        noted = f"{part}.{CLASS}"  # without a class it is the evaluation protocol of that name
        if key == "name" and part and value == GIVEN and noted in plain:
            yield part, str(plain[noted])
