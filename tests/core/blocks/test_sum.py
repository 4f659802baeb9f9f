"""Several objectives as one: the gradient is the weighted sum of theirs, what they encode alike is encoded once."""

import copy

import pytest
import torch
from torch import nn

from sensorium import Learner, Needs, Objective, Outcome, Sum, Teacher, losses
from sensorium.errors import RecipeError
from sensorium.seeding import seed_globals
from sensorium.testing.synthetic import ToyEncoder
from tests.core.blocks.sums import (
    ROWS,
    NormedEncoder,
    Term,
    count_rows,
    gradients,
    learner_of,
    of_parts,
    part,
    views_of,
)

SUMS = {
    "clip + mae": lambda: [part("clip"), Term(part("mae"), on="a", weight=0.5)],
    "slip": lambda: [Term(part("clip"), views={"a": [0]}), Term(part("simclr"), on="a", views=[1, 2])],
    "siglip2": lambda: [
        part("siglip", dim=8),
        Term(part("ibot"), on="a", weight=0.25, views=[0, 1, 2]),
        Term(part("dino"), on="a", views=[0, 1, 2, 3]),
    ],
    "of one": lambda: [Term(part("simclr"), on="a", weight=3.0)],
    "nested views": lambda: [
        Term(part("simclr"), on="a", views=[0, 1]),
        Term(part("byol"), on="a", views=[1, 0], weight=2.0),
        Term(part("vicreg"), on="a", views=[1, 2]),
        Term(part("moco"), on="a", views=[0, 2]),
    ],
    "twice": lambda: [Term(part("mae"), on="a"), Term(part("mae"), on="b"), Term(part("mae", mask_ratio=0.3), on="a")],
}


@pytest.mark.parametrize("encoder", [ToyEncoder, NormedEncoder])
@pytest.mark.parametrize("name", SUMS)
def test_the_gradient_is_the_weighted_sum_of_those_of_the_parts(name, encoder):
    learner, views = learner_of(SUMS[name](), encoder), views_of()
    total, expected = of_parts(learner, views)
    outcome = learner(views)
    outcome.loss.backward()
    found = gradients(learner)
    assert float(outcome.loss.detach()) == pytest.approx(total, rel=1e-12)
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        torch.testing.assert_close(found[key], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "rows"),
    {
        "clip + mae": {"a": 2, "b": 1},  # the tokens that mae hides are another pass
        "slip": {"a": 3, "b": 1},
        "siglip2": {"a": 4 + 2, "b": 1},  # 4 views, 2 masked global ones
        "of one": {"a": 2},
        "nested views": {"a": 3},
        "twice": {"a": 2, "b": 1},
    }.items(),
)
def test_no_view_is_encoded_twice_where_once_serves(name, rows):
    learner = learner_of(SUMS[name]())
    counts = count_rows(learner)
    learner(views_of())
    assert {key.removeprefix("encoders."): n for key, n in counts.items() if key.startswith("encoders.")} == {
        key: n * ROWS for key, n in rows.items()
    }


class Calls(Objective):
    """Encodes views as it is told, and adds up what it is given."""

    needs = Needs(views=2)

    def __init__(self, *calls, with_graph=True):
        super().__init__()
        self.calls, self.with_graph, self.found = calls, with_graph, []

    def build(self, encoders):
        pass

    def forward(self, views, encode):
        self.found = []
        with torch.set_grad_enabled(self.with_graph):
            for call in self.calls:
                self.found += encode([views[number] for number in call])
        return Outcome(torch.stack([features.pooled.sum() for features in self.found]).sum() + 0)


def passes_of(*terms, encoder=ToyEncoder):
    """The number of views that are encoded, and the terms' objectives."""
    learner = learner_of([Term(one, on="a", name=f"t{n}") for n, one in enumerate(terms)], encoder, names=("a",))
    counts = count_rows(learner)
    learner(views_of(a=2, b=0))
    return sum(counts.values()) // ROWS, terms


def test_two_passes_of_one_view_stay_two_and_are_shared_one_by_one():
    assert passes_of(Calls([0, 0]))[0] == 2
    assert passes_of(Calls([0], [0]), Calls([0, 0]))[0] == 2
    assert passes_of(Calls([0, 0, 1]), Calls([0]), Calls([1, 0, 1]))[0] == 4


def test_a_pass_without_gradient_takes_one_that_has_it_but_gives_none():
    count, (graph, plain) = passes_of(Calls([0, 1]), Calls([0], with_graph=False))
    assert count == 2
    assert graph.found[0].pooled.requires_grad
    assert not plain.found[0].pooled.requires_grad
    assert torch.equal(graph.found[0].pooled, plain.found[0].pooled)
    count, (plain, graph) = passes_of(Calls([0, 1], with_graph=False), Calls([0]))
    assert count == 3
    assert graph.found[0].pooled.requires_grad


def test_batch_norm_shares_equal_calls_alone():
    assert passes_of(Calls([0, 1]), Calls([0]), Calls([0, 1]), encoder=NormedEncoder)[0] == 3
    assert passes_of(Calls([0, 1]), Calls([1, 0]), encoder=NormedEncoder)[0] == 4
    count, (together, alone) = passes_of(Calls([0, 1]), Calls([0]), encoder=NormedEncoder)
    assert count == 3
    assert not torch.allclose(together.found[0].pooled, alone.found[0].pooled)


def test_without_its_batch_a_norm_shares_each_view():
    terms = [Calls([0, 1]), Calls([0])]
    learner = learner_of([Term(one, on="a", name=f"t{n}") for n, one in enumerate(terms)], NormedEncoder, ("a",))
    learner.encoders["a"].norm.eval()
    counts = count_rows(learner)
    learner(views_of(a=2, b=0))
    assert sum(counts.values()) == 2 * ROWS


class OwnViews(Calls):
    """Encodes views of its own making."""

    def forward(self, views, encode):
        return super().forward([copy.copy(view) for view in views], encode)


def test_views_of_an_objective_s_own_are_its_own():
    assert passes_of(OwnViews([0]), OwnViews([0]), Calls([0]))[0] == 3


class Frozen(Objective):
    """Learns nothing from frozen encoders that others have too."""

    def __init__(self, teachers):
        super().__init__()
        self.teachers = [teachers]

    def build(self, encoders):
        self.head = nn.Linear(encoders.single.dim, 1)

    def forward(self, views, encode):
        with torch.no_grad():
            (features,) = encode.using(self.teachers[0])(views)
        return Outcome(self.head(features.pooled).mean())


def test_a_frozen_teacher_that_several_have_runs_once_and_ema_teachers_each_for_itself():
    teacher = ToyEncoder().double()
    calls = []
    inner = teacher.encode_tokens
    teacher.encode_tokens = lambda tokens, keep=None: calls.append(1) or inner(tokens, keep)
    learner = learner_of([Frozen({"a": teacher}), Frozen({"a": teacher})], names=("a",))
    learner(views_of(a=1, b=0))
    assert len(calls) == 1
    learner = learner_of([Term(part("byol"), on="a"), Term(part("byol", width=8), on="a")], names=("a",))
    counts = count_rows(learner)
    learner(views_of(a=2, b=0))
    assert sorted(counts.values()) == [2 * ROWS] * 3


def test_names_tell_terms_apart_in_logs_features_and_weights():
    learner = learner_of(
        [part("clip"), Term(part("mae"), on="a"), Term(part("mae"), on="b"), Term(part("mae", mask_ratio=0.3), on="a")]
    )
    names = ["clip", "mae-a", "mae-b", "mae-a-2"]
    assert list(learner.objective.parts) == names
    outcome = learner(views_of())
    assert {name.partition("/")[0] for name in outcome.logs} == set(names)
    assert {"clip/loss", "clip/scale", "clip/gradient", "mae-a/loss"} <= outcome.logs.keys()
    assert {"clip/a", "clip/b", *(f"{name}/features" for name in names[1:])} == outcome.features.keys()
    assert {name.split(".")[1] for name in learner.objective.state_dict()} == set(names)
    assert learner.objective.modality_pairs == [("a", "b")]
    total = sum(float(outcome.logs[f"{name}/loss"]) for name in names)
    assert float(outcome.loss) == pytest.approx(total)


@pytest.mark.parametrize("scale", [1.0, 2.0**12])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_norm_of_each_gradient_at_the_encoders_is_logged(scale, accumulated):
    learner = learner_of([Term(part("simclr"), on="a", weight=2.0, views=[0, 1]), Term(part("byol"), on="a")])
    views = views_of(a=2)
    expected = []
    for name, weight in {"simclr": 2.0, "byol": 1.0}.items():
        alone = copy.deepcopy(learner)
        made = []

        def keeping(self, of_alone=alone, made=made):
            features = of_alone.encoders["a"](self)
            features.pooled.retain_grad()
            made.append(features.pooled)
            return features

        class Watched:
            def __call__(self, views, keeping=keeping):
                return [keeping(view.batch) for view in views]

            def using(self, encoders):
                return lambda views: [encoders["a"](view.batch) for view in views]

        (weight * alone.objective.parts[name](views["a"], Watched()).loss).backward()
        expected.append(torch.cat([x.grad.flatten() for x in made]).norm())
    outcome = learner(views)
    assert float(outcome.logs["simclr/gradient"]) == 0  # until the backward pass
    (outcome.loss * scale / accumulated).backward()
    assert float(outcome.logs["simclr/gradient"]) == pytest.approx(float(expected[0]), rel=1e-5)
    assert float(outcome.logs["byol/gradient"]) == pytest.approx(float(expected[1]), rel=1e-5)


def trained(learner, steps, of, start=0, optimizer=None):
    optimizer = optimizer or torch.optim.AdamW(
        [p for p in learner.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.5
    )
    seen = []
    for step in range(start, steps):
        seed_globals("step", step)
        outcome = learner(views_of(seed=step))
        optimizer.zero_grad()
        outcome.loss.backward()
        optimizer.step()
        learner.objective.after_step((step + 1) / of)
        seen.append(outcome)
    return seen, optimizer


def late():
    return learner_of([part("clip"), Term(part("byol"), on="a", start=0.5, views=[1, 2])])


def test_a_term_costs_nothing_before_its_start():
    learner = late()
    first, counts = copy.deepcopy(learner), count_rows(learner)
    seen, _ = trained(learner, 2, of=4)
    assert counts == {"encoders.a": 2 * ROWS, "encoders.b": 2 * ROWS}
    assert not any(name.startswith("byol/") for outcome in seen for name in {**outcome.logs, **outcome.features})
    before = first.objective.parts["byol"]
    for name, weight in learner.objective.parts["byol"].named_parameters():
        if not name.startswith("teacher."):
            assert torch.equal(weight, before.get_parameter(name)), name
            assert weight.grad is None
    counts.clear()
    (outcome,), _ = trained(learner, 3, of=4, start=2)
    assert counts["encoders.a"] == 3 * ROWS
    assert "byol/loss" in outcome.logs


def test_its_teacher_is_the_student_when_it_starts():
    learner = late()
    trained(learner, 1, of=4)
    teacher = learner.objective.parts["byol"].teacher.encoders["a"]
    student = learner.encoders["a"]
    assert not torch.equal(teacher.embed.weight, student.embed.weight)
    trained(learner, 2, of=4, start=1)
    assert all(torch.equal(one, other) for one, other in zip(teacher.parameters(), student.parameters(), strict=True))
    trained(learner, 3, of=4, start=2)
    assert not torch.equal(teacher.embed.weight, student.embed.weight)


def test_running_statistics_of_a_restarted_teacher_are_those_of_the_student():
    class Owner(Objective):
        def build(self, encoders):
            self.teacher = Teacher(encoders)

        def forward(self, views, encode):
            return Outcome(losses.negative_cosine(*(f.pooled for f in encode([views[0], views[0]]))))

    learner = learner_of([Term(part("simclr"), on="a"), Term(Owner(), on="a", start=0.5)], NormedEncoder, ("a",))
    learner(views_of(b=0, a=2))
    teacher, student = learner.objective.parts["owner"].teacher.encoders["a"].norm, learner.encoders["a"].norm
    assert not torch.equal(teacher.running_mean, student.running_mean)
    learner.objective.after_step(0.5)
    assert torch.equal(teacher.running_mean, student.running_mean)
    assert torch.equal(teacher.num_batches_tracked, student.num_batches_tracked)


def test_a_term_follows_the_part_of_the_training_that_is_its_own():
    told = []

    class Told(Calls):
        def after_step(self, progress):
            told.append(progress)

    learner = learner_of([Term(Calls([0]), on="a"), Term(Told([1]), on="a", start=0.5)], names=("a",))
    for step in range(8):
        learner.objective.after_step((step + 1) / 8)
    assert told == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resume_is_bit_equal_across_the_start(stop):
    whole, _ = trained(late(), 4, of=4)
    learner = late()
    before, optimizer = trained(learner, stop, of=4)
    resumed = late()
    resumed.load_state_dict(learner.state_dict())
    state = optimizer.state_dict()
    again = torch.optim.AdamW([p for p in resumed.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.5)
    again.load_state_dict(state)
    after, _ = trained(resumed, 4, of=4, start=stop, optimizer=again)
    found = [float(outcome.loss) for outcome in [*before, *after]]
    assert found == [float(outcome.loss) for outcome in whole]


def test_what_has_started_stays_so_in_a_longer_training():
    learner = late()
    trained(learner, 2, of=4)
    longer = late()
    longer.load_state_dict(learner.state_dict())
    (outcome,), _ = trained(longer, 3, of=100, start=2)
    assert "byol/loss" in outcome.logs


def test_weights_that_wait_are_those_of_terms_and_encoders_that_nobody_uses():
    learner = learner_of([Term(part("mae"), on="a"), Term(part("clip"), start=0.5)])
    waiting = {id(p) for p in learner.objective.waiting_parameters()}
    expected = {
        name
        for name, p in learner.named_parameters()
        if p.requires_grad and name.startswith(("encoders.b.", "objective.terms.clip."))
    }
    assert {name for name, p in learner.named_parameters() if id(p) in waiting} == expected
    for parameter in learner.parameters():
        parameter.grad = torch.ones_like(parameter)
    learner.drop_frozen_gradients({}, 0.0)
    assert {name for name, p in learner.named_parameters() if p.grad is None} == expected
    learner.objective.after_step(0.5)
    assert learner.objective.waiting_parameters() == []


def test_a_sum_compares_scores_and_exports_as_its_first_term_that_does():
    learner = learner_of([Term(part("mae"), on="a"), part("clip"), part("siglip", dim=4)])
    objective, clip = learner.objective, learner.objective.parts["clip"]
    x = torch.randn(3, 16).double()
    assert torch.equal(objective.embed("a", x), clip.embed("a", x))
    assert torch.equal(objective.joint_map("b", learner.encoders["b"]), clip.project["b"].weight.T)
    assert objective.logit_parameters().keys() == {"log_scale"}
    assert objective.has_own_space("a")
    assert objective.score(views_of(), None) is None
    alone = learner_of([Term(part("mae"), on="a")], names=("a",)).objective
    assert torch.equal(alone.embed("a", x), x)
    assert not alone.has_own_space("a")
    assert alone.logit_parameters() == {}


class Scoring(Calls):
    def score(self, views, encode):
        return {"nats": torch.full((len(views[0]),), 2.0)}


class Fitting(Calls):
    fits = 16

    def fit(self, batches, encode):
        self.shown = [len(views) for views in batches]


def test_terms_score_and_learn_from_the_views_that_are_theirs():
    learner = learner_of([Term(Calls([0]), on="a"), Term(Scoring([0]), on="a", views=[1, 2])], names=("a",))
    assert learner.score(views_of(a=3, b=0))["nats"].shape == (ROWS,)
    terms = [Term(Fitting([0]), on="a", views=[0, 2]), Term(Calls([0]), on="a"), Term(Fitting([1]), on="a")]
    learner = learner_of(terms, names=("a",))
    assert learner.objective.fits == 16
    learner.fit(iter([views_of(a=3, b=0), views_of(a=3, b=0)]))
    first, _, last = learner.objective.parts.values()
    assert first.shown == last.shown == [2, 2]


def test_temperatures_are_clamped_of_each_term():
    learner = learner_of([part("clip"), Term(part("clip", dim=4), weight=2.0)])
    for objective in learner.objective.parts.values():
        objective.log_scale.data.fill_(50.0)
    learner.objective.after_step(0.5)
    assert all(float(o.log_scale.exp()) == pytest.approx(100) for o in learner.objective.parts.values())


def test_siamese_towers_are_views_of_a_term_of_one_modality():
    seed_globals("siamese")
    sharing = {"first": "owner", "owner": "owner", "other": "other"}
    encoders = {"owner": ToyEncoder(), "other": ToyEncoder()}
    terms = [Term(part("byol"), on=["first", "owner"]), Term(part("clip"), on=["owner", "other"])]
    learner = Learner(encoders, Sum(terms), sharing=sharing).train()
    made = views_of(a=1, b=1)
    views = {"first": made["a"], "owner": made["b"], "other": views_of(a=1, seed=1)["a"]}
    for of_one in views.values():
        of_one[0].batch.x = of_one[0].batch.x.float()
    counts = count_rows(learner)
    learner(views).loss.backward()
    assert counts["encoders.owner"] == 2 * ROWS
    assert all(p.grad is not None for p in learner.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("terms", "sentence"),
    [
        ([Term(Calls([0]), start=0.5)], "A sum needs an objective that starts with the training: leave one start out."),
        ([Calls([0])], "The term 'calls' takes one modality, and there are 2 (a, b): name it by `on`."),
        ([Term(Calls([0]), on="c")], "The term 'calls' is on 'c', for which there is no encoder; there are a, b."),
        ([Term(part("clip"), on="a")], "The objective 'clip' takes 2 modalities, but here are 1 (a)."),
    ],
)
def test_what_does_not_fit_is_told(terms, sentence):
    with pytest.raises(RecipeError) as caught:
        learner_of(terms)
    assert str(caught.value) == sentence


def test_views_that_are_too_few_are_told():
    learner = learner_of([Term(part("simclr"), on="a", views=[0, 7])])
    with pytest.raises(RecipeError) as caught:
        learner(views_of(a=2))
    assert str(caught.value) == (
        "The term 'simclr' of the sum takes 2 view(s) of each record, but was given 1: hand in as many, and say which "
        "are its own by Term(..., views=...)."
    )


@pytest.mark.parametrize(("option", "value"), [("weight", 0.0), ("weight", -1.0), ("start", 1.0), ("start", -0.1)])
def test_numbers_out_of_range_are_told(option, value):
    with pytest.raises(RecipeError, match=f"The option '{option}' of the term of a sum must be"):
        Term(part("clip"), **{option: value})


def test_an_objective_of_another_learner_is_refused():
    objective = part("simclr")
    Learner({"a": ToyEncoder()}, objective)
    with pytest.raises(RecipeError, match="The term 'simclr' of a sum is built already"):
        learner_of([objective], names=("a",))
