"""Several objectives trained together: the weighted sum of their losses, over views and passes that they share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.blocks.shared_passes import GradientNorms, SharedPasses, SharingEncode
from sensorium.blocks.teacher import Teacher
from sensorium.blocks.term_names import term_names
from sensorium.contracts import Encode, Encoder, Encoders, Objective
from sensorium.contracts.objective import check_given, check_towers
from sensorium.errors import RecipeError, check_range, not_found
from sensorium.parallel import collectives
from sensorium.types import Needs, Outcome, View

Views = Mapping[str, Sequence[View]]


@dataclass(frozen=True)
class Term:
    """One objective of a sum, and what it sees and weighs in it.

    Args:
        objective: not yet built.
        on: the modality that it sees, or several; None for all that the learner has.
        weight: factor of its loss, > 0.
        start: fraction of the training at which it sets in, in [0, 1). Until then it costs nothing, its weights stay as
            they are, and its teachers become copies of their students only then.
        views: which of a modality's views it sees, by number from 0: of each of its modalities, or by modality name;
            None for the first ones, as many as it needs, and all of an objective that takes any number.
        name: of its logs and weights; default that of the class, in lower case, with its modalities where two are
            called alike.
        classes: number of classes of the target of its views; None for that of the learner.
    """

    objective: Objective
    on: str | Sequence[str] | None = None
    weight: float = 1.0
    start: float = 0.0
    views: Sequence[int] | Mapping[str, Sequence[int]] | None = None
    name: str = ""
    classes: int | None = None

    def __post_init__(self) -> None:
        check_range("term of a sum", "(0, inf)", weight=self.weight)
        check_range("term of a sum", "[0, 1)", start=self.start)

    @property
    def modalities(self) -> tuple[str, ...] | None:
        """The modalities that it names; None where it names none."""
        return (self.on,) if isinstance(self.on, str) else None if self.on is None else tuple(self.on)


class Sum(Objective):
    """Several objectives in one training: the sum of their losses, each with its weight.

    What several terms encode alike is encoded once (`SharedPasses`), and the gradient of the sum is the weighted sum of
    those of its terms. Logs, watched features and weights have the name of their term in front, such as "clip/scale";
    "clip/gradient" is the norm of the gradient of its weighted loss at what the encoders return, a mean over ranks
    (torch.compile leaves it out).

    Args:
        terms: the objectives, or terms of them; at least one of which starts with the training.
    """

    needs = Needs(modalities="any")

    def __init__(self, terms: Sequence[Term | Objective]) -> None:
        super().__init__()
        given = [one if isinstance(one, Term) else Term(one) for one in terms]
        if not any(term.start == 0 for term in given):
            raise RecipeError("A sum needs an objective that starts with the training: leave one start out.")
        kinds = [term.name or type(term.objective).__name__.lower() for term in given]
        names = term_names(kinds, [term.modalities for term in given])
        self._terms = [replace(term, name=name) for term, name in zip(given, names, strict=True)]
        self.terms = nn.ModuleDict({_module_name(term.name): term.objective for term in self._terms})
        self._has_started = [term.start == 0 for term in self._terms]
        if not all(self._has_started):  # what has started stays so, even if a resumed training is made longer
            self.register_buffer("started", torch.tensor(self._has_started))
            self.register_load_state_dict_post_hook(_read_started)

    @property
    def parts(self) -> dict[str, Objective]:
        """The objectives by the names of their terms."""
        return {term.name: self._objective(term) for term in self._terms}

    @property
    def remedies(self) -> dict[str, str | None]:
        """What to change first when features of a term collapse, by its name."""
        return {name: objective.remedy for name, objective in self.parts.items()}

    @property
    def record_keys(self) -> Collection[str] | None:  # type: ignore[override]
        """The keys of records that any term reads."""
        read = [objective.record_keys for objective in self.parts.values()]
        return None if None in read else {name for names in read for name in names or ()}

    def seen_by(self, name: str) -> tuple[str, ...]:
        """Return the modalities that a term sees."""
        return self._towers[name]

    def build(self, encoders: Encoders) -> None:
        """Build every term from the encoders of its own modalities."""
        self._encoders = encoders
        self._towers: dict[str, tuple[str, ...]] = {}
        for term in self._terms:
            objective, names = self._objective(term), _towers_of(term, encoders)
            owners = dict.fromkeys(encoders.sharing[name] for name in names)
            check_towers(f"'{term.name}'", objective.needs, {name: encoders[name] for name in owners}, names)
            check_given(f"'{term.name}'", objective.needs, owners, encoders.descriptors, encoders.teachers)
            if objective.is_built:
                raise RecipeError(f"The term '{term.name}' of a sum is built already, for another: hand in a new one.")
            self._towers[term.name] = names
            seen = names if objective.needs.is_crossmodal else tuple(owners)
            classes = encoders.classes if term.classes is None else term.classes
            objective.build(encoders.only(seen, classes, _count_views(term, names, encoders.views)))
            objective.is_built = True
        self.modality_pairs = list(dict.fromkeys(pair for one in self.parts.values() for pair in one.modality_pairs))
        self.fits = max(objective.fits for objective in self.parts.values())

    def forward(self, views: Views, encode: Encode) -> Outcome:
        """Return the weighted sum of the losses of the terms that have started."""
        passes = SharedPasses([view for made in views.values() for view in made], self._encoders.sharing)
        norms = None if torch.compiler.is_compiling() else GradientNorms()
        losses, sum_of = [], Outcome(torch.zeros(()))
        for term, has_started in zip(self._terms, self._has_started, strict=True):
            if has_started:
                note = None if norms is None else partial(norms.at_features, term.name)
                own = SharingEncode(encode, self._encoders, passes, note)
                outcome = self._objective(term)(self._views_of(term, views), own)
                losses.append(term.weight * outcome.loss)
                logs = {**outcome.logs, "loss": outcome.loss.detach()}
                sum_of.logs |= {f"{term.name}/{name}": value for name, value in logs.items()}
                sum_of.features |= {f"{term.name}/{name}": rows for name, rows in outcome.features.items()}
                sum_of.assignments |= {f"{term.name}/{name}": used for name, used in outcome.assignments.items()}
                sum_of.explained |= {f"{term.name}/{name}": part for name, part in outcome.explained.items()}
        loss = torch.stack(losses).sum()
        if norms is not None and loss.requires_grad:
            loss = norms.at_total(loss)
            sum_of.logs |= {f"{name}/gradient": norm for name, norm in norms.logs().items()}
        if collectives.world_size() > 1 and (waiting := self.waiting_parameters()):
            loss = _WithoutGradient.apply(loss, *waiting)  # type: ignore[no-untyped-call]
        return replace(sum_of, loss=loss)

    def waiting_parameters(self) -> list[nn.Parameter]:
        """Return the trained weights that no term uses yet: they have no gradient, and weight decay must not act."""
        if all(self._has_started):
            return []
        at_work = [term for term, started in zip(self._terms, self._has_started, strict=True) if started]
        used = {id(p) for term in at_work for p in self._objective(term).parameters()}
        used |= {
            id(p) for term in at_work for name in self._towers[term.name] for p in self._encoders[name].parameters()
        }
        own = [*self.parameters(), *(p for encoder in self._encoders.values() for p in encoder.parameters())]
        waiting = {id(p): p for p in own if p.requires_grad and id(p) not in used}
        return list(waiting.values())

    def after_step(self, progress: float) -> None:
        """Let each term follow the part of the training that it takes part in, and start those whose time it is."""
        for number, term in enumerate(self._terms):
            objective = self._objective(term)
            if self._has_started[number]:
                objective.after_step((progress - term.start) / (1 - term.start))
            elif progress >= term.start:
                for teacher in (module for module in objective.modules() if isinstance(module, Teacher)):
                    teacher.restart()
                self._has_started[number] = True
                self.started[number] = True

    def fit(self, batches: Iterable[Any], encode: Encode) -> None:
        """Let each term that learns from the train part do so, on its views; several keep all of them in memory."""
        learning = [term for term in self._terms if self._objective(term).fits]
        shown = list(batches) if len(learning) > 1 else batches
        for term in learning:
            self._objective(term).fit((self._views_of(term, views) for views in shown), encode)

    def score(self, views: Views, encode: Encode) -> dict[str, Tensor] | None:
        """Return the likelihood of each record under the first term that gives one."""
        for term in self._terms:
            found = self._objective(term).score(self._views_of(term, views), encode)
            if found is not None:
                return found
        return None

    def predict_tokens(
        self, views: Mapping[str, Sequence[View]], encode: Encode, sources: Collection[str], target: str
    ) -> Tensor | None:
        """Return the tokens of a modality as the first term that sees it and some of the sources predicts them."""
        for name, objective in self.parts.items():
            shown = [source for source in sources if source in self._towers[name]]
            if shown and target in self._towers[name]:
                found = objective.predict_tokens({one: views[one] for one in (*shown, target)}, encode, shown, target)
                if found is not None:
                    return found
        return None

    def embed(self, modality: str, pooled: Tensor) -> Tensor:
        """Map features to the space of the first term that compares the modality in one; without any, as they are."""
        objective = self.comparing(modality)
        return pooled if objective is None else objective.embed(modality, pooled)

    def joint_map(self, modality: str, encoder: Encoder) -> Tensor | None:
        """Return that map as a matrix; see `Objective.joint_map`."""
        objective = self.comparing(modality)
        return super().joint_map(modality, encoder) if objective is None else objective.joint_map(modality, encoder)

    def logit_parameters(self) -> dict[str, Tensor]:
        """Return those of the first term that compares modalities in a space of its own."""
        found = (self.comparing(modality) for modality in self._encoders)
        return next((objective.logit_parameters() for objective in found if objective is not None), {})

    def comparing(self, modality: str) -> Objective | None:
        """Return the first objective that compares a modality in a space of its own, None without any."""
        found = (self._objective(term) for term in self._terms if modality in self._towers[term.name])
        return next((objective for objective in found if objective.has_own_space(modality)), None)

    def has_own_space(self, modality: str) -> bool:
        """Whether a term compares the modality in another space than that of its features."""
        return self.comparing(modality) is not None

    def _objective(self, term: Term) -> Objective:
        return self.terms[_module_name(term.name)]  # type: ignore[return-value]

    def _views_of(self, term: Term, views: Views) -> Any:
        """Return the views that a term sees, as its objective asks for them."""
        objective, names = self._objective(term), self._towers[term.name]
        needs = objective.needs
        chosen = {name: list(_chosen(term, name, views[name], len(names))) for name in names}
        own = sum(not view.is_negative for made in chosen.values() for view in made)
        each = needs.views * (len(names) if needs.is_crossmodal else 1)
        if own < each or (own > each and not needs.multicrop):
            raise RecipeError(
                f"The term '{term.name}' of the sum takes {each}{' or more' * needs.multicrop} view(s) of each record, "
                f"but was given {own}: hand in as many, and say which are its own by Term(..., views=...)."
            )
        return chosen if needs.is_crossmodal else [view for made in chosen.values() for view in made]


class _WithoutGradient(torch.autograd.Function):
    """Returns the loss as it is. The weights behind it get none; DDP, which waits for all, need not wait for these."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, *weights: Tensor) -> Tensor:
        ctx.count = len(weights)
        return loss.view_as(loss)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return gradient, *[None] * ctx.count


def _read_started(of: Sum, _: object) -> None:
    """Ask the device once, after a checkpoint was loaded, which terms have started."""
    of._has_started = [bool(one) for one in of.started.tolist()]


def weights_of_term(name: str) -> str:
    """Return how the names of a term's weights begin in a sum."""
    return f"terms.{_module_name(name)}."


def _module_name(name: str) -> str:
    """Return a term's name as that of a module, which has no dots."""
    return name.replace(".", "-")


def _towers_of(term: Term, encoders: Encoders) -> tuple[str, ...]:
    """Return the modalities that a term sees.

    Raises:
        RecipeError: for one that there is not, and where an objective of one modality does not say which of several.
    """
    names, there = term.modalities, ", ".join(encoders)
    if names is None:
        names = tuple(encoders)
        if not term.objective.needs.is_crossmodal and len({encoders.sharing[name] for name in names}) > 1:
            raise RecipeError(
                f"The term '{term.name}' takes one modality, and there are {len(names)} ({there}): name it by `on`."
            )
    for name in names:
        if name not in encoders:
            problem = f"The term '{term.name}' is on '{name}', for which there is no encoder"
            raise RecipeError(not_found(problem, name, encoders, f"there are {there}"))
    return names


def _count_views(term: Term, names: Sequence[str], made: int) -> int:
    """Return the number of views of each record that a term sees, of so many that are made."""
    needs = term.objective.needs
    if not needs.multicrop:
        return needs.views
    counts = [made if term.views is None else len(_numbers(term, name) or ()) for name in names]
    return max(counts) if needs.is_crossmodal or term.views is None else sum(counts)


def _numbers(term: Term, modality: str) -> Sequence[int] | None:
    return term.views.get(modality) if isinstance(term.views, Mapping) else term.views


def _chosen(term: Term, modality: str, made: Sequence[View], towers: int) -> Iterator[View]:
    """Iterate over the views of a modality that a term sees."""
    needs, numbers = term.objective.needs, _numbers(term, modality)
    if numbers is not None:
        yield from (made[number] for number in numbers if number < len(made))
        return
    own = [view for view in made if not view.is_negative]
    yield from own if needs.multicrop else own[: needs.views if needs.is_crossmodal else needs.views // towers]
    if needs.negative_views:
        yield from (view for view in made if view.is_negative)
