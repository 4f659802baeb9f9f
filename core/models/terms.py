"""The objectives of a recipe: what makes each, the modalities that it is on, and the views of them that it sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any

from sensorium.blocks.sum import Sum, Term as TermOfSum
from sensorium.blocks.term_names import term_names
from sensorium.contracts import Objective, ViewGenerator, has_target
from sensorium.errors import RecipeError, not_found
from sensorium.models.makers import Maker, maker
from sensorium.models.several_views import SeveralViews
from sensorium.recipe.parts import OF_TERM, Part, Term
from sensorium.recipe.schema import Recipe
from sensorium.registration.options import options_of
from sensorium.registration.registry import Registry
from sensorium.types import Needs


@dataclass(frozen=True)
class PlannedTerm:
    """One objective of a recipe.

    Args:
        key: its key in the recipe: "objective", or "objective.0" of the first of several.
        part: its name and options, and what it weighs.
        make: makes it.
        name: of its logs and weights, among several.
        towers: the modalities that it is on.
        seen: modality name -> which of its view generators it sees, by number; set when these are made.
        views: modality name -> which of its views it sees, by number, mined negatives included.
        classes: number of classes of the target of its views, if they have one.
    """

    key: str
    part: Part
    make: Maker[Objective]
    name: str
    towers: tuple[str, ...]
    seen: Mapping[str, Sequence[int]] = field(default_factory=dict)
    views: Mapping[str, Sequence[int]] = field(default_factory=dict)
    classes: int | None = None

    @property
    def needs(self) -> Needs:
        """What it asks of the rest of the recipe."""
        return self.make.cls.needs

    @property
    def takes_towers_as_views(self) -> bool:
        """Whether it is of one modality and sees towers, which share one encoder, as views of a record."""
        return not self.needs.is_crossmodal and len(self.towers) > 1

    @property
    def views_of_a_tower(self) -> int:
        """How many views of each record it takes of one modality."""
        return self.needs.views // (len(self.towers) if self.takes_towers_as_views else 1)

    @property
    def global_views(self) -> int:
        """How many of its views it takes for global ones; 0 where it makes no difference between views."""
        parameter = signature(self.make.cls).parameters.get("global_views")
        return 0 if parameter is None else self.make.options.get("global_views", parameter.default)

    @property
    def is_one_of_several(self) -> bool:
        """Whether it stands in a list, and is a term of a sum."""
        return isinstance(self.part, Term)

    @property
    def start(self) -> float:
        """The fraction of the training at which it sets in."""
        return self.part.start if isinstance(self.part, Term) else 0.0

    def of_sum(self) -> TermOfSum:
        """Return it as a term of a sum, with a new objective."""
        assert isinstance(self.part, Term), "one objective is no term"
        return TermOfSum(self.make(), self.towers, self.part.weight, self.start, self.views, self.name, self.classes)


def plan_terms(recipe: Recipe, registry: Registry) -> list[PlannedTerm]:
    """Return the objectives of a recipe, which have not chosen their views yet.

    Raises:
        PluginError: for a name that is not registered.
        RecipeError: for options that an objective does not have, a modality that the recipe does not have, and an
            objective that is there twice.
    """
    parts = recipe.objectives()
    names = names_of(list(parts.values()))
    terms = []
    for (key, part), name in zip(parts.items(), names, strict=True):
        made: Maker[Objective] = maker(registry, "objectives", part, key)
        named = part.on if isinstance(part, Term) else None
        for modality in named or ():
            if modality not in recipe.modalities:
                problem, known = f"{key}.on names the modality '{modality}'", ", ".join(recipe.modalities)
                raise RecipeError(not_found(problem, modality, recipe.modalities, f"the recipe has {known}"))
        if isinstance(part, Term):
            _check_term(key, part, made, parts)
        terms.append(PlannedTerm(key, part, made, name, tuple(named or recipe.modalities)))
    return terms


def names_of(parts: Sequence[Part]) -> list[str]:
    """Return the names of the terms of several objectives: of the parts, with modalities where two are alike."""
    kinds = [part.name if part.handed_in is None else str(part).lower() for part in parts]
    return term_names(kinds, [part.on if isinstance(part, Term) else None for part in parts])


def _check_term(key: str, part: Term, made: Maker[Objective], parts: Mapping[str, Part]) -> None:
    """Check that a term is not there twice, and that its options are not called like what says how it takes part."""
    own = {option.name for option in options_of(made.cls)} if part.handed_in is None else set()
    if clash := [name for name in OF_TERM if name in own]:
        raise RecipeError(
            f"{key}: the objective '{part}' has an option '{clash[0]}', which among several objectives is the key of a "
            "term: train it alone, or give its option another name."
        )
    apart = {"weight": 1.0, "start": 0.0}
    for other, earlier in parts.items():
        if other == key or part.handed_in is not None:  # two objects of one class may differ
            break
        if earlier.model_copy(update=apart) == part.model_copy(update=apart):
            raise RecipeError(
                f"{key} is the same as {other}: leave it out and raise {other}.weight, or let them differ."
            )


def with_views(term: PlannedTerm, recipe: Recipe, generators: Mapping[str, ViewGenerator]) -> PlannedTerm:
    """Return a term that has chosen its view generators, and its views among theirs.

    One objective alone sees all. A term sees the generators that it names, or else the first that fits it, those first
    that have what it makes use of (`Needs.info`); of a generator with more views than it takes, the first ones.

    Raises:
        RecipeError: when it names a generator that there is not.
    """
    needs, seen, views, classes = term.needs, {}, {}, None
    for name in term.towers:
        made = as_several(generators[name])
        seen[name] = _chosen(term, name, recipe, made)
        numbers = [n for number in seen[name] for n in made.numbers(number)]
        if term.is_one_of_several and not needs.multicrop:
            numbers = numbers[: term.views_of_a_tower]
        if needs.negative_views:
            numbers += [n for number in seen[name] for n in made.negative_numbers(number)]
            mined = 0 if recipe.data.negatives is None else recipe.data.negatives.count
            numbers += range(made.views, made.views + mined)
        views[name] = numbers
        classes = classes or next((c for n in seen[name] if (c := made.generators[n].classes) is not None), None)
    return replace(term, seen=seen, views=views, classes=classes)


def as_several(generator: ViewGenerator) -> SeveralViews:
    """Return a view generator as one of several."""
    return generator if isinstance(generator, SeveralViews) else SeveralViews([generator], "views")


def fits(term: PlannedTerm, generator: ViewGenerator) -> bool:
    """Return whether a term can see the views of one generator alone: there are enough, with its target."""
    needs = term.needs
    return generator.views >= term.views_of_a_tower and (not needs.target or has_target(generator, needs.target))


def _chosen(term: PlannedTerm, name: str, recipe: Recipe, made: SeveralViews) -> list[int]:
    """Return the numbers of the generators of a modality that a term sees; the first where none fits."""
    several, everyone = made.generators, list(range(len(made.generators)))
    named = term.part.views if isinstance(term.part, Term) else None
    if len(several) == 1 or not isinstance(term.part, Term):
        return everyone
    if named is not None:
        parts = list(recipe.modalities[name].generators().values())
        return [_number(term, name, one, parts) for one in named]
    fitting = [number for number in everyone if fits(term, several[number])]
    return sorted(fitting or everyone, key=lambda number: term.needs.info not in several[number].info)[:1]


def _number(term: PlannedTerm, name: str, said: str | int, parts: Sequence[Part]) -> int:
    """Return the number of a view generator that a term names.

    Raises:
        RecipeError: for one that there is not, and a name that two have.
    """
    names = [str(part) for part in parts]
    listed = ", ".join(f"{number}: {one}" for number, one in enumerate(names))
    at = f"modalities.{name}.views"
    found = [number for number, one in enumerate(names) if said in (number, one)]
    if len(found) > 1:
        raise RecipeError(
            f"{term.key}.views names '{said}', and {at} has it {len(found)} times: give a number ({listed})."
        )
    if not found:
        problem = f"{term.key}.views names {said!r}, which is none of {at}"
        raise RecipeError(not_found(problem, str(said), names, f"there are {listed}"))
    return found[0]


def make_objective(terms: Sequence[PlannedTerm]) -> Maker[Any]:
    """Return what makes the objective of a recipe: its only one as it is, or the sum of several."""
    if not terms[0].is_one_of_several:
        return terms[0].make
    return Maker(Sum, {}, make=lambda: Sum([term.of_sum() for term in terms]))
