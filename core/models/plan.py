"""From a recipe to the parts it names: looked up, their options checked, their compatibility checked.

All of this happens before any data is read. What depends on data (a vocabulary, and encoders sized by it) is made
afterwards, by `Plan.learner`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from sensorium.blocks.lora import adapt
from sensorium.contracts import (
    Callback,
    Encoder,
    Evaluator,
    Logger,
    Modality,
    Objective,
    Source,
    Split,
    Task,
    ViewGenerator,
)
from sensorium.data.as_source import as_source
from sensorium.data.selected import selected
from sensorium.data.splits.random_split import RandomSplit
from sensorium.errors import PluginError, RecipeError, not_found
from sensorium.models.compatibility import Compatibility
from sensorium.models.depth import freeze, rate_factors, tells_layers, without_layers
from sensorium.models.frozen_teachers import (
    AbsentTeacher,
    FrozenTeachers,
    TeacherRun,
    encoder_of_run,
    load_teacher,
    with_sizes,
)
from sensorium.models.given import noted
from sensorium.models.learner import Learner
from sensorium.models.makers import Maker, family_of, loadable, maker
from sensorium.models.optimization import Optimization, make_optimization
from sensorium.models.plain_parts import FunctionViews
from sensorium.models.several_views import SeveralViews
from sensorium.models.terms import PlannedTerm, as_several, make_objective, plan_terms, with_views
from sensorium.recipe.parts import Part
from sensorium.recipe.schema import Recipe, Tower
from sensorium.registration.discovery import Extensions
from sensorium.registration.registry import Registry
from sensorium.seeding import generator, seed_globals
from sensorium.weights.files import HUB, RANDOM, folder_of
from sensorium.weights.loading import WeightsReport, load_weights

REFERENCE = "reference/"
"""In front of the names of tables of a reference set."""


@dataclass
class Plan:
    """The parts that a recipe names, each with checked options.

    Args:
        recipe: what they were made from.
        modalities: modality name -> the modality, not yet fitted.
        generators: modality name -> the view generator.
        encoders: modality name -> makes the encoder, once the modality is fitted; the same for towers that share it.
        terms: its objectives, each with what it sees.
        evaluators: table name -> makes the evaluator.
        source: makes the source, or None when the recipe names none.
        optimization: makes the optimizer, and knows its learning rates.
        finetuning: the same for fine-tuning.
        task: makes the task of fine-tuning; which label it is for, and which modality, is told when it is made.
        split: makes the split of its records.
        callbacks: name -> makes the callback, in the order in which they are called; of a plan for training.
        loggers: name -> makes the logger; of a plan for training.
        teachers: modality name -> makes its frozen teacher; of a plan for training.
        teacher_runs: modality name -> the run that its teacher comes from, if it is of one; of a plan for training.
        taught_by: modality name -> what was loaded into its teacher, with a hash of all of the teacher's weights.
        started_from: modality name -> what was loaded into its encoder, of the last learner that was made.
        reference: the same parts with the records and evaluators of `evaluate.reference`; None without.
    """

    recipe: Recipe
    modalities: dict[str, Modality]
    generators: dict[str, ViewGenerator]
    encoders: dict[str, Maker[Encoder]]
    terms: list[PlannedTerm]
    evaluators: dict[str, Maker[Evaluator]]
    source: Maker[Source] | None
    optimization: Optimization
    finetuning: Optimization
    task: Maker[Task]
    split: Maker[Split] = field(default_factory=lambda: Maker(RandomSplit, {}))
    callbacks: dict[str, Maker[Callback]] = field(default_factory=dict)
    loggers: dict[str, Maker[Logger]] = field(default_factory=dict)
    teachers: dict[str, Maker[Encoder]] = field(default_factory=dict)
    teacher_runs: dict[str, TeacherRun] = field(default_factory=dict)
    taught_by: dict[str, WeightsReport] = field(default_factory=dict)
    started_from: dict[str, WeightsReport] = field(default_factory=dict)
    reference: Plan | None = None

    @property
    def fields(self) -> dict[str, str]:
        """Modality name -> the source's field with its raw values."""
        return {name: tower.field or name for name, tower in self.recipe.modalities.items()}

    @property
    def tables(self) -> list[str]:
        """The names of the tables of its evaluators, those of a reference set included."""
        return [*self.evaluators, *(self.reference.evaluators if self.reference is not None else ())]

    @property
    def source_options(self) -> dict[str, Any]:
        """The options of the source that the recipe names, and what is selected of it: the files are among them."""
        named = self.recipe.data.source
        return {"select": self.recipe.data.select, **({} if named is None else named.options)}

    def open_source(self, given: Any = None) -> Source:
        """Return what was handed in as a source (see `as_source`), or else the source that the recipe names.

        Of either the records that `data.select` names.

        Raises:
            RecipeError: when there is neither.
            DataError: when what was handed in is no source, or the records cannot be found.
        """
        select = self.recipe.data.select
        if given is not None:
            return selected(as_source(given, tuple(self.fields.values())), select)
        if self.source is None:
            raise RecipeError(
                "The recipe names no source: set data.source, or hand the records in with source=..., as a training "
                "from Python does."
            )
        return selected(self.source(), select)

    @property
    def unfreezing(self) -> dict[str, tuple[float, float]]:
        """Modality name -> the fractions of the training between which its encoder is unfrozen, if it starts frozen."""
        return {name: tower.unfreeze for name, tower in self.recipe.modalities.items() if tower.unfreeze}

    def learner(
        self,
        fill: Callable[[dict[str, Encoder]], None] | None = None,
        pretrained: bool = True,
        adapted: bool = True,
        teachers: FrozenTeachers | None = None,
    ) -> Learner:
        """Return a learner with its first weights: a function of the recipe's seed, and of the weights it starts from.

        Args:
            fill: loads other weights into the encoders, before the objective copies them as teachers.
            pretrained: load the weights that towers start from; without them, all are random.
            adapted: add the adapters of towers that have some, as a training does; without, encoders are plain.
            teachers: frozen teachers, as `load_teachers` returns them; without, their widths alone are known.

        Raises:
            RecipeError: when weights that a tower starts from cannot be read, or do not fit its encoder, and when an
                encoder does not have the layers that its tower freezes or adapts.
        """
        seed_globals(self.recipe.seed, "weights")
        sharing = self.recipe.sharing
        encoders = {name: make() for name, make in self.encoders.items() if sharing[name] == name}
        if pretrained:
            self.started_from = {
                name: load_weights(encoders[name], where, name, f"modalities.{name}.weights")
                for name, where in self._weights(encoders).items()
            }
        if fill is not None:
            fill(encoders)
        for name, encoder in encoders.items():
            tower = self.recipe.modalities[name]
            freeze(encoder, tower.frozen, f"modalities.{name}.frozen")
            if tower.lora is not None and adapted:
                try:
                    adapt(encoder, **tower.lora.model_dump(), rng=generator(self.recipe.seed, "lora", name))
                except RecipeError as error:
                    raise RecipeError(f"modalities.{name}.{error}") from error
        classes = next((g.classes for g in self.generators.values() if g.classes is not None), None)
        if teachers is None:
            towers = self.recipe.modalities.items()
            teachers = FrozenTeachers({n: AbsentTeacher(n, t.teacher) for n, t in towers if t.teacher is not None})
        return Learner(encoders, self.objective(), classes, self.views, sharing, self.descriptors, teachers)

    def load_teachers(self) -> FrozenTeachers:
        """Return the frozen teachers of its towers; what was loaded, and their widths, are noted in the plan.

        Raises:
            RecipeError: when a teacher has no weights, they cannot be read or do not fit it, or when they are of a run
                whose modality has learned something else than the plan's, which is fitted.
        """
        made: dict[str, Encoder] = {}
        towers = dict(self.recipe.modalities)
        for name, make in self.teachers.items():
            teacher = towers[name].teacher
            assert teacher is not None, "its maker was made of it"
            if name in self.teacher_runs:
                self.teacher_runs[name].check_state(name, self.modalities[name].state())
            seed_globals(self.recipe.seed, "teacher", name)
            made[name] = encoder = make()
            self.taught_by[name] = load_teacher(encoder, name, teacher)
            towers[name] = towers[name].model_copy(update={"teacher": with_sizes(teacher, encoder)})
        self.recipe = self.recipe.model_copy(update={"modalities": towers})
        return FrozenTeachers(made)

    def rate_factors(self, learner: Learner) -> dict[int, float]:
        """Return the factors of the learning rates of parameters that do not have the full rate, by their identity.

        Args:
            learner: on its device, wrapped for its strategy.
        """
        decays = {name: tower.layer_decay for name, tower in self.recipe.modalities.items()}
        return {
            number: factor
            for name, decay in decays.items()
            if decay is not None
            for number, factor in rate_factors(learner.encoder(name), decay, f"modalities.{name}.layer_decay").items()
        }

    def check_weights(self) -> None:
        """Check that the weights of towers and teachers are there, before any data is read; a hub is not asked yet.

        Raises:
            RecipeError: when a file or folder is not there.
        """
        for name, tower in self.recipe.modalities.items():
            named = {"weights": (tower.weights, self.encoders[name])}
            if tower.teacher is not None:
                named["teacher.weights"] = (tower.teacher.weights, self.teachers[name])
            for key, (where, made_by) in named.items():
                if where is None or where == RANDOM or where.startswith(HUB):
                    continue
                try:
                    folder_of(where)
                except RecipeError as error:
                    published = made_by.cls.published_weights(made_by.options)
                    hint = f" Those of its model are published as {published}." if published else ""
                    raise RecipeError(f"modalities.{name}.{key}: {error}{hint}") from error

    def _weights(self, encoders: Mapping[str, Encoder]) -> dict[str, str]:
        """Return the weights that encoders start from, by modality name: the tower's, or else their own."""
        named = {
            name: self.recipe.modalities[name].weights or encoder.own_weights for name, encoder in encoders.items()
        }
        return {name: where for name, where in named.items() if where is not None and where != RANDOM}

    @property
    def objective(self) -> Maker[Objective]:
        """Makes the objective: the only one, or the sum of several."""
        return make_objective(self.terms)

    @property
    def described(self) -> list[str]:
        """The modalities whose values come with descriptors, since an objective asks for them."""
        asking = {name for term in self.terms if term.needs.descriptors for name in term.towers}
        return [name for name in self.modalities if name in asking]

    @property
    def descriptors(self) -> dict[str, int]:
        """Modality name -> number of descriptors of a record; the modalities are fitted."""
        return {name: len(self.modalities[name].descriptor_names) for name in self.described}

    @cached_property
    def record_keys(self) -> Collection[str] | None:
        """Names of the keys of records that the objective reads; None for all that there are."""
        return self.objective().record_keys

    @property
    def takes_towers_as_views(self) -> bool:
        """Whether an objective of one modality sees towers, which share one encoder, as views of a record."""
        return any(term.takes_towers_as_views for term in self.terms)

    @property
    def gives_scores(self) -> bool:
        """Whether an objective gives the likelihood of records."""
        return any(term.make.cls.score is not Objective.score for term in self.terms)

    @property
    def predicts_tokens(self) -> bool:
        """Whether an objective predicts the tokens of one modality from others."""
        return any(term.make.cls.predict_tokens is not Objective.predict_tokens for term in self.terms)

    @property
    def views(self) -> int:
        """Number of views of each record: of each modality, or of all towers that are views of it together."""
        counts = [generator.views for generator in self.generators.values()]
        return sum(counts) if self.takes_towers_as_views else max(counts)


def make_plan(recipe: Recipe, extensions: Extensions, for_training: bool = False) -> Plan:
    """Look up and check every part of a recipe.

    Args:
        recipe: what names them.
        extensions: what is registered.
        for_training: with callbacks and loggers, which a run that is only read does not need to have installed.

    Raises:
        PluginError: for a name that is not registered, or a plugin that failed.
        RecipeError: for options a part does not have, and parts that do not fit each other.
    """
    registry = extensions.registry
    _require_plugins(recipe.plugins, extensions)
    terms = plan_terms(recipe, registry)
    modalities: dict[str, Modality] = {}
    generators: dict[str, ViewGenerator] = {}
    encoders: dict[str, Maker[Encoder]] = {}
    made: dict[str, tuple[Modality, Maker[Encoder]]] = {}
    for name, tower in recipe.modalities.items():
        owner, path, named = recipe.sharing[name], f"modalities.{name}", recipe.tower(name).modality
        assert named is not None, "it is spelled out"
        if owner not in made:  # towers that share an encoder share the modality, which learns from the values of all
            modality = maker(registry, "modalities", named, f"modalities.{owner}.modality")()
            part, at = recipe.modalities[owner].encoder, f"modalities.{owner}.encoder"
            made[owner] = (
                modality,
                maker(registry, "encoders", part, at, family_of(registry, named, modality), modality),
            )
        modality, encoders[name] = made[owner]
        modalities[name] = modality
        family = family_of(registry, named, modality)
        made_by = [
            _views_maker(maker(registry, "views", part, f"{path}.{key}", family, modality), name, terms)
            for key, part in tower.generators().items()
        ]
        is_list = isinstance(tower.views, list)
        generators[name] = SeveralViews([make() for make in made_by], f"{path}.views") if is_list else made_by[0]()
    terms = [with_views(term, recipe, generators) for term in terms]
    plan = Plan(
        noted(recipe, {name: as_several(views).generators for name, views in generators.items()}),
        modalities,
        generators,
        encoders,
        terms,
        {
            name: maker(registry, "evaluators", part, f"evaluate.evaluators.{name}")
            for name, part in recipe.evaluate.evaluators.items()
        },
        maker(registry, "sources", recipe.data.source, "data.source") if recipe.data.source else None,
        make_optimization(recipe.optimizer, registry, "optimizer"),
        make_optimization(recipe.finetune.optimizer, registry, "finetune.optimizer"),
        maker(registry, "tasks", recipe.finetune.task, "finetune.task"),
        maker(registry, "splits", recipe.data.split, "data.split"),
    )
    plan.reference = _reference(plan, registry)
    if for_training:
        _add_callbacks_and_loggers(plan, registry)
        _add_teachers(plan, registry)
    Compatibility(plan.recipe, terms, modalities, generators, encoders, registry).check()
    _let_mined_negatives_be_seen(plan)
    _check_layers(plan, registry)
    _check_task(plan)
    return plan


def _views_maker(make: Maker[ViewGenerator], name: str, terms: Sequence[PlannedTerm]) -> Maker[ViewGenerator]:
    """Return what makes the views of a modality: a function that was handed in makes as many as its objectives take."""
    if make.cls is not FunctionViews or make.options:
        return make
    return make.with_options(views=max((term.views_of_a_tower for term in terms if name in term.towers), default=1))


def _let_mined_negatives_be_seen(plan: Plan) -> None:
    """Let mined negatives be made views of as the objective's own are that uses them."""
    for name, views in plan.generators.items():
        using = [term for term in plan.terms if term.needs.negative_views and name in term.towers]
        if using and isinstance(views, SeveralViews):
            views.mined = views.generators[using[0].seen[name][0]]


def _add_callbacks_and_loggers(plan: Plan, registry: Registry) -> None:
    recipe = plan.recipe
    for name, part in recipe.log.loggers.items():
        plan.loggers[name] = maker(registry, "loggers", part, f"log.loggers.{name}")
    for name, part in recipe.callbacks.items():
        plan.callbacks[name] = make = maker(registry, "callbacks", part, f"callbacks.{name}")
        if make().needs_metrics and recipe.evaluate.every is None:
            raise RecipeError(
                f"callbacks.{name} reads metrics on the val part during the training: set evaluate.every."
            )


def _add_teachers(plan: Plan, registry: Registry) -> None:
    """Add what makes the frozen teachers, and note in the recipe the encoders of those that come from a run."""
    towers = dict(plan.recipe.modalities)
    for name, tower in towers.items():
        if (teacher := tower.teacher) is None:
            continue
        kind, modality = tower.modality or Part(name=name), plan.modalities[name]
        run, part = TeacherRun.find(name, teacher, registry), teacher.encoder
        if run is not None:
            plan.teacher_runs[name] = run
        part = part or encoder_of_run(name, teacher, run, kind, registry)
        path, family = f"modalities.{name}.teacher.encoder", family_of(registry, kind, modality)
        plan.teachers[name] = maker(registry, "encoders", part, path, family, modality)
        towers[name] = tower.model_copy(update={"teacher": teacher.model_copy(update={"encoder": part})})
    plan.recipe = plan.recipe.model_copy(update={"modalities": towers})


def _reference(plan: Plan, registry: Registry) -> Plan | None:
    """Return a plan of the records of `evaluate.reference`, with the towers of another plan."""
    recipe, asked = plan.recipe, plan.recipe.evaluate.reference
    if asked is None:
        return None
    if unknown := [name for name in asked.fields if name not in recipe.modalities]:
        problem, known = f"evaluate.reference.fields names the modality '{unknown[0]}'", ", ".join(recipe.modalities)
        raise RecipeError(not_found(problem, unknown[0], recipe.modalities, f"the recipe has {known}"))
    parts = {"source": asked.source, "select": None, "split": asked.split or recipe.data.split}
    if asked.test is not None:
        parts["test"] = asked.test
    towers = {
        name: tower.model_copy(update={"field": asked.fields.get(name, tower.field)})
        for name, tower in recipe.modalities.items()
    }
    update = {"data": recipe.data.model_copy(update=parts), "modalities": towers}
    own = {f"evaluate.reference.evaluators.{name}": (name, part) for name, part in asked.evaluators.items()}
    of_run = {f"evaluate.evaluators.{name}": (name, part) for name, part in recipe.evaluate.evaluators.items()}
    return replace(
        plan,
        recipe=recipe.model_copy(update=update),
        evaluators={
            f"{REFERENCE}{name}": maker(registry, "evaluators", part, path)
            for path, (name, part) in (own or of_run).items()
        },
        source=maker(registry, "sources", asked.source, "evaluate.reference.source"),
        split=maker(registry, "splits", asked.split, "evaluate.reference.split") if asked.split else plan.split,
    )


def make_tower(name: str, tower: Tower, registry: Registry, state: Mapping[str, Any]) -> tuple[Modality, Encoder]:
    """Return the modality of a tower, restored to what it learned, and the encoder with its first weights."""
    kind = tower.modality or Part(name=name)
    modality = maker(registry, "modalities", kind, f"modalities.{name}.modality")()
    modality.load_state(state)
    family = family_of(registry, kind, modality)
    return modality, maker(registry, "encoders", tower.encoder, f"modalities.{name}.encoder", family, modality)()


def _require_plugins(names: Iterable[str], extensions: Extensions) -> None:
    loaded = {plugin.name for plugin in extensions.plugins if plugin.state == "loaded"}
    for name in names:
        if name not in loaded:
            raise PluginError(
                f"The recipe needs the plugin '{name}', which is not loaded: install it, or see `sensorium plugins`."
            )


def _check_layers(plan: Plan, registry: Registry) -> None:
    """Check that encoders say what their layers are, where a recipe goes by them."""
    recipe = plan.recipe
    for name, tower in recipe.modalities.items():
        asks = {
            f"modalities.{name}.layer_decay": tower.layer_decay is not None,
            f"modalities.{name}.frozen": not isinstance(tower.frozen, bool),
            "train.gradient_checkpointing": recipe.train.gradient_checkpointing and tower.frozen is not True,
            "finetune.layer_decay": recipe.finetune.layer_decay is not None
            and (len(recipe.modalities) == 1 or name == recipe.finetune.modality),
        }
        key = next((key for key, is_asked in asks.items() if is_asked), None)
        if key is not None and not tells_layers(plan.encoders[name].cls):
            kind = family_of(registry, recipe.tower(name).modality or Part(name=name), plan.modalities[name])
            fitting = loadable(registry, "encoders", kind, tells_layers)
            said = without_layers(key, f"'{recipe.tower(name).encoder}'")
            raise RecipeError(f"{said}; encoders that do: {fitting}.")


def _check_task(plan: Plan) -> None:
    """Check that what a recipe says of labels fits the task of fine-tuning."""
    if plan.recipe.finetune.labels_per_class is not None and plan.task.cls.is_regression:
        raise RecipeError(
            f"finetune.labels_per_class counts records of a class, and a {plan.recipe.finetune.task} has none: give "
            "finetune.label_fraction."
        )
