"""Whether the parts of a recipe fit each other: objectives, modalities, views and encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sensorium.contracts import Encoder, Modality, TokenEncoder, ViewGenerator, has_target
from sensorium.errors import RecipeError
from sensorium.models.makers import Maker, family_of, loadable
from sensorium.models.several_views import SeveralViews
from sensorium.models.terms import PlannedTerm, as_several, fits
from sensorium.recipe.parts import Part
from sensorium.recipe.schema import Recipe
from sensorium.registration.registry import Registry


@dataclass
class Compatibility:
    """The checks of a recipe's parts against what its objectives need.

    Args:
        recipe: names the parts.
        terms: its objectives, which have chosen their views.
        modalities: modality name -> the modality.
        generators: modality name -> the view generator.
        encoders: modality name -> makes the encoder.
        registry: has the parts that would fit.
    """

    recipe: Recipe
    terms: Sequence[PlannedTerm]
    modalities: Mapping[str, Modality]
    generators: Mapping[str, ViewGenerator]
    encoders: Mapping[str, Maker[Encoder]]
    registry: Registry

    def check(self) -> None:
        """Check that views, encoders and objectives are compatible.

        Raises:
            RecipeError: with what would fit.
        """
        for term in self.terms:
            self._check_modalities(term)
        self._check_uses()
        for term in self.terms:
            for name in term.towers:
                self._check_views(term, name)
                self._check_target(term, name)
                self._check_descriptors(term, name)
                self._check_teacher(term, name)
                self._check_tokens(term, name)
        self._check_every_view_is_seen()

    def _check_modalities(self, term: PlannedTerm) -> None:
        """Check that an objective takes as many modalities as it is on."""
        needs, count, names = term.needs, len(term.towers), ", ".join(term.towers)
        has = f"{term.key} is on {count} ({names})" if term.is_one_of_several else f"the recipe has {count} ({names})"
        fitting = loadable(self.registry, "objectives", None, lambda cls: cls.needs.takes(count))
        if needs.modalities == "one" and len({self.recipe.sharing[name] for name in term.towers}) != 1:
            name_one = f"name one by {term.key}.on" if term.is_one_of_several else f"for {count}, there are: {fitting}"
            raise RecipeError(
                f"The objective '{term.part}' takes one modality, but {has}; {name_one}. Towers of one modality that "
                "share an encoder, {share: OTHER}, count as one: they are views of a record."
            )
        if needs.is_crossmodal and not needs.takes(count):
            takes = {"many": "two or more", "any": "one or more"}.get(str(needs.modalities), needs.modalities)
            raise RecipeError(
                f"The objective '{term.part}' takes {takes} modalities, but {has}; for {count}, there are: {fitting}."
            )

    def _check_uses(self) -> None:
        """Check that somebody uses what a recipe asks for: mined negatives, towers, cached features."""
        recipe = self.recipe
        named = _listed([f"'{term.part}'" for term in self.terms])
        subject = f"The objective {named}" if len(self.terms) == 1 else f"The objectives {named}"
        if recipe.data.negatives and not any(term.needs.negative_views for term in self.terms):
            fitting = loadable(self.registry, "objectives", None, lambda cls: cls.needs.negative_views)
            makes = "makes" if len(self.terms) == 1 else "make"
            raise RecipeError(f"{subject} {makes} no use of data.negatives; objectives that do: {fitting}.")
        of_tokens = [term for term in self.terms if term.needs.tokens]
        if of_tokens and recipe.train.gradient_cache:
            asking = _listed([f"'{term.part}'" for term in of_tokens])
            learns = f"objective {asking} learns" if len(of_tokens) == 1 else f"objectives {asking} learn"
            raise RecipeError(
                f"train.gradient_cache keeps one vector of each record, but the {learns} from tokens: leave it off."
            )
        for name in recipe.modalities:
            if not any(name in term.towers for term in self.terms):
                raise RecipeError(
                    f"No objective is on modalities.{name}: name it in the `on` of one, or take it away by "
                    f"modalities.{name}=null."
                )

    def _check_views(self, term: PlannedTerm, name: str) -> None:
        """Check that an objective sees as many views as it takes, and negative ones only if it uses such."""
        needs, made = term.needs, as_several(self.generators[name])
        seen = [made.generators[number] for number in term.seen[name]]
        counted = {tower: self._count(term, tower) for tower in (term.towers if term.takes_towers_as_views else [name])}
        count = sum(counted.values())
        is_enough = count >= needs.views and (term.is_one_of_several or count == needs.views or needs.multicrop)
        if not is_enough:
            required = f"{needs.views} or more views" if needs.multicrop else f"{needs.views} view(s)"
            fitting = loadable(self.registry, "views", self._kind(name), partial(_makes_views, term.views_of_a_tower))
            makes = f"{self._views_of(term, name)} makes {count}"
            if term.takes_towers_as_views:
                makes = f"the towers {', '.join(term.towers)}, which are views of a record, make {count} together"
            raise RecipeError(
                f"The objective '{term.part}' needs {required} of each record, but {makes}; generators that would fit: "
                f"{fitting}."
            )
        if term.global_views > count:
            raise RecipeError(
                f"{term.key}.global_views is {term.global_views}, but {self._views_of(term, name)} makes {count} views "
                "of each record, of which the first are global: lower it, or let the views make more."
            )
        if any(one.negative_views for one in seen) and not self._are_negatives_used(name, term.seen[name]):
            fitting = loadable(self.registry, "objectives", None, lambda cls: cls.needs.negative_views)
            raise RecipeError(
                f"The views '{self._part(name, term.seen[name][0])}' of modalities.{name} include negatives, which the "
                f"objective '{term.part}' does not use; objectives that do: {fitting}."
            )

    def _count(self, term: PlannedTerm, name: str) -> int:
        """Return how many views of each record, negatives aside, the generators make that an objective sees."""
        made = as_several(self.generators[name])
        return sum(made.generators[number].views for number in term.seen[name])

    def _are_negatives_used(self, name: str, numbers: Sequence[int]) -> bool:
        """Return whether an objective that uses negative views sees one of these generators."""
        using = [term for term in self.terms if term.needs.negative_views and name in term.towers]
        return any(set(numbers) & set(term.seen[name]) for term in using)

    def _check_target(self, term: PlannedTerm, name: str) -> None:
        needs, made = term.needs, as_several(self.generators[name])
        for number in term.seen[name]:
            if needs.target and not has_target(made.generators[number], needs.target):
                fitting = loadable(self.registry, "views", self._kind(name), lambda cls: has_target(cls, needs.target))
                has = made.generators[number].target or "none"
                raise RecipeError(
                    f"The objective '{term.part}' needs the target '{needs.target}', but {self._views_of(term, name)} "
                    f"has {has}; generators that would fit: {fitting}."
                )

    def _check_descriptors(self, term: PlannedTerm, name: str) -> None:
        if term.needs.descriptors and not self.modalities[name].has_descriptors():
            fitting = loadable(self.registry, "modalities", None, lambda cls: cls.has_descriptors())
            raise RecipeError(
                f"The objective '{term.part}' needs descriptors of each record, which the modality of "
                f"modalities.{name} does not have; modalities that do: {fitting}."
            )

    def _check_teacher(self, term: PlannedTerm, name: str) -> None:
        if term.needs.teacher and self.recipe.modalities[self.recipe.sharing[name]].teacher is None:
            raise RecipeError(
                f"The objective '{term.part}' predicts the features of a frozen teacher, and modalities.{name} has "
                f"none: set modalities.{name}.teacher to the folder of a run, or to an encoder and its weights, "
                "{encoder: NAME, weights: PATH}."
            )
        taught = any(one.needs.teacher and name in one.towers for one in self.terms)
        if self.recipe.modalities[name].teacher is not None and not taught:
            raise RecipeError(
                f"The objective '{term.part}', with these options, makes no use of a frozen teacher: leave "
                f"modalities.{name}.teacher out."
            )

    def _check_tokens(self, term: PlannedTerm, name: str) -> None:
        """Check that an encoder has tokens, where an objective or a target of each token asks for them."""
        needs, made = term.needs, as_several(self.generators[name])
        per_token = next((made.generators[n].target for n in term.seen[name] if made.generators[n].per_token), None)
        is_asked = needs.tokens or (needs.target and per_token)
        if is_asked and not issubclass(self.encoders[name].cls, TokenEncoder):
            asking = f"objective '{term.part}'" if needs.tokens else f"target '{per_token}'"
            kind = self._kind(name)
            fitting = loadable(self.registry, "encoders", kind, lambda cls: issubclass(cls, TokenEncoder))
            others = loadable(self.registry, "encoders", kind, _has_tokens_with_some_options)
            raise RecipeError(
                f"The {asking} needs tokens, but modalities.{name}.encoder '{self.recipe.tower(name).encoder}' is "
                f"no token encoder; encoders that would fit: {fitting}; with some of their models: {others}."
            )

    def _check_every_view_is_seen(self) -> None:
        for name, generator in self.generators.items():
            for number in range(len(generator.generators) if isinstance(generator, SeveralViews) else 0):
                if not any(number in term.seen.get(name, ()) for term in self.terms):
                    raise RecipeError(
                        f"No objective sees modalities.{name}.views.{number} '{self._part(name, number)}': leave it "
                        "out, or name it in the `views` of an objective, which by itself takes the first that fits."
                    )

    def _part(self, name: str, number: int) -> Part:
        """Return a view generator of a modality as the recipe has it."""
        return list(self.recipe.modalities[name].generators().values())[number]

    def _views_of(self, term: PlannedTerm, name: str) -> str:
        """Return the view generators of a modality that an objective sees, or that it could have seen, in words."""
        parts = self.recipe.modalities[name].generators()
        numbers: Sequence[int] = term.seen[name]
        several = as_several(self.generators[name]).generators
        if len(parts) > 1 and not any(fits(term, several[number]) for number in numbers):
            named = getattr(term.part, "views", None) is not None
            numbers = numbers if named else range(len(parts))
        keys = list(parts)
        return " and ".join(f"modalities.{name}.{keys[number]} '{parts[keys[number]]}'" for number in numbers)

    def _kind(self, name: str) -> str | None:
        """Return the registered name of a tower's modality."""
        return family_of(self.registry, self.recipe.tower(name).modality or Part(name=name), self.modalities[name])


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _has_tokens_with_some_options(cls: Any) -> bool:
    return not issubclass(cls, TokenEncoder) and cls.variant.__func__ is not Encoder.variant.__func__


def _makes_views(count: int, cls: Any) -> bool:
    return cls.views == count
