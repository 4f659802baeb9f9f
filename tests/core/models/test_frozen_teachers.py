"""A frozen teacher is there while a run is trained: never trained, in no checkpoint, the same at a resume."""

import json
import shutil

import pytest
import torch

import sensorium
from sensorium import Learner
from sensorium.errors import RecipeError
from sensorium.models.frozen_teachers import AbsentTeacher
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.runs.checkpoint import Checkpoints
from sensorium.training.weight_average import WeightAverage
from sensorium.weights import read_weights
from tests import toys
from tests.core.models.test_start_weights import UnreadableSource

PLAIN = {"name": "noise", "views": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of the run that teaches."""
    recipe = toys.recipe(seed=5)
    recipe["modalities"]["a"]["encoder"] = {"name": "mlp", "dim": 6}
    return fit(recipe, tmp_path_factory.mktemp("teacher") / "run").run.folder


def fit(recipe, folder=None, source=None, **given):
    source = source or toys.vectors()
    return sensorium.fit(recipe, source=source, run_dir=folder, extensions=toys.extensions(), **given)


def taught(teacher, **changes):
    recipe = toys.recipe(objective="mimic", **changes)
    recipe["modalities"]["a"] |= {"teacher": teacher, "views": PLAIN}
    return recipe


def plan_of(recipe):
    extensions = toys.extensions()
    return make_plan(read_recipe(recipe, extensions.registry), extensions, for_training=True)


@pytest.fixture(scope="module")
def student(run, tmp_path_factory):
    return fit(taught(str(run)), tmp_path_factory.mktemp("student") / "run", source=toys.vectors(seed=3))


def test_the_encoder_of_a_run_teaches_and_is_no_part_of_what_is_trained(run, student):
    learner = student.learner
    expected = read_weights(run, "a")
    teacher = learner.teachers["a"]
    assert all(torch.equal(tensor, expected[name]) for name, tensor in teacher.state_dict().items())
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not learner.train().teachers["a"].training
    own = {id(parameter) for parameter in learner.parameters()}
    assert own.isdisjoint(map(id, teacher.parameters()))
    assert learner.objective.head.out_features == teacher.dim == 6


def test_no_checkpoint_and_no_model_has_it_and_its_hash_is_kept(run, student):
    checkpoint = Checkpoints(student.run.checkpoints, 1).latest()
    learner = checkpoint.learner()
    assert {name.split(".")[0] for name in learner} == {"encoders", "objective"}
    assert not any("teacher" in name for name in learner)
    noted = json.loads(student.run.status_file.read_text())["teachers"]["a"]
    assert noted["where"] == str(run)
    assert checkpoint.extra("teachers") == {"a": noted["digest"]}


def test_a_modality_that_must_learn_takes_what_that_of_the_teacher_had_learned(run, student):
    there = json.loads((run / "modalities" / "a.json").read_text())
    assert student.plan.modalities["a"].state() == there
    alone = fit(toys.recipe(), source=toys.vectors(seed=3), evaluate=False)
    shutil.rmtree(alone.run.folder)
    assert alone.plan.modalities["a"].state() != there


def test_what_has_learned_something_else_is_refused(run, tmp_path):
    other = fit(toys.recipe(), tmp_path / "other", source=toys.vectors(seed=3))
    recipe = taught(str(run), train={"steps": 2, "accelerator": "cpu", "warm_start": str(other.run.folder)})
    with pytest.raises(RecipeError, match=r"modalities.a.teacher: the modality 'a' has learned other things .*run"):
        fit(recipe, tmp_path / "run", source=toys.vectors(seed=3))


def test_a_finished_run_is_opened_and_exported_without_the_teacher(run, student, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(student.run.folder, copy)
    text = (copy / "recipe.yaml").read_text()
    (copy / "recipe.yaml").write_text(text.replace(str(run), str(tmp_path / "gone")))
    opened = sensorium.load(copy, extensions=toys.extensions())
    assert isinstance(opened.learner.teachers["a"], AbsentTeacher)
    assert torch.equal(opened.embed(a=["1 " * 8]).popitem()[1], student.embed(a=["1 " * 8])["a"])
    with pytest.raises(RecipeError, match="frozen teacher of 'a' is there while its run is trained"):
        opened.learner.teachers["a"](None)
    sensorium.export(copy, tmp_path / "files", extensions=toys.extensions())
    assert "teacher" not in json.loads((tmp_path / "files" / "encoders.json").read_text())["a"]["tower"]


def test_first_weights_are_those_without_a_teacher(run):
    plan = plan_of(taught(str(run)))
    plan.modalities["a"].load_state(plan.teacher_runs["a"].state)
    teachers = plan.load_teachers()
    with_teacher, without = (plan.learner(teachers=given) for given in (teachers, None))
    plain = plan_of(toys.recipe())
    plain.modalities["a"].load_state({"mean": 0.0})
    for one in (with_teacher, without):
        weights = zip(one.encoder("a").parameters(), plain.learner().encoder("a").parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in weights)


def test_a_resumed_training_checks_that_it_is_the_same(run, student, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(student.run.folder, copy)
    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    where = f"modalities.a.teacher.weights={moved}"
    more = ["train.epochs=4", where]
    longer = fit(None, overrides=more, resume=copy, source=toys.vectors(seed=3))
    assert torch.equal(longer.learner.teachers["a"].net[0].weight, student.learner.teachers["a"].net[0].weight)
    weights = read_weights(run, "a")
    torch.save(weights | {"net.0.bias": weights["net.0.bias"] + 1}, tmp_path / "o.pth")
    with pytest.raises(RecipeError, match=r"frozen teacher of 'a' \(.*o.pth\) is not the one .*weights have changed"):
        fit(None, overrides=["train.epochs=5", f"modalities.a.teacher.weights={tmp_path / 'o.pth'}"], resume=copy)


def test_an_encoder_with_a_file_of_weights_teaches(run, tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(read_weights(run, "a"), file)
    plan = plan_of(taught({"encoder": {"name": "mlp", "dim": 6}, "weights": str(file)}))
    plan.modalities["a"].load_state({"mean": 0.0})
    teachers = plan.load_teachers()
    assert torch.equal(teachers["a"].net[0].weight, read_weights(run, "a")["net.0.weight"])
    assert plan.recipe.modalities["a"].teacher.dim == 6


def test_random_weights_teach_only_if_they_are_asked_for():
    plan = plan_of(taught({"encoder": "mlp"}))
    plan.modalities["a"].load_state({"mean": 0.0})
    with pytest.raises(RecipeError, match=r"modalities.a.teacher.weights is missing, .*random says"):
        plan.load_teachers()
    plan = plan_of(taught({"encoder": "mlp", "weights": "random"}))
    plan.modalities["a"].load_state({"mean": 0.0})
    first, again = plan.load_teachers(), plan.load_teachers()
    assert torch.equal(first["a"].net[0].weight, again["a"].net[0].weight)
    assert not torch.equal(first["a"].net[0].weight, plan.learner().encoder("a").net[0].weight)


@pytest.mark.parametrize(
    ("teacher", "problem"),
    [
        (None, r"predicts the features of a frozen teacher, and modalities.a has none: set modalities.a.teacher"),
        ("gone", r"modalities.a.teacher: There is no file or folder gone"),
        ({"weights": "LICENSE"}, r"names the weights LICENSE and no encoder, and only a run tells its own"),
        (
            {"encoder": "mlp", "weights": "gone.pth"},
            r"modalities.a.teacher.weights: There is no file or folder gone.pth",
        ),
        ({"dim": 3}, r"name a run, or an encoder and its weights"),
        ({"encoder": "resnet"}, r"no encoder for modality 'vector' named 'resnet'"),
    ],
)
def test_what_is_wrong_is_said_before_any_data_is_read(teacher, problem, tmp_path):
    with pytest.raises(sensorium.SensoriumError, match=problem):
        fit(taught(teacher), tmp_path / "run", source=UnreadableSource({"a": ["1 2"]}))


def test_a_teacher_that_nobody_uses_is_refused(run):
    recipe = toys.recipe()
    recipe["modalities"]["a"]["teacher"] = str(run)
    with pytest.raises(RecipeError, match="'simclr', with these options, makes no use of a frozen teacher: leave"):
        plan_of(recipe)


def test_a_modality_of_another_configuration_is_refused(run, tmp_path):
    recipe = taught(str(run))
    recipe["modalities"]["a"]["modality"] = {"name": "vector", "width": 4}
    with pytest.raises(RecipeError, match=r"otherwise \(width is 8 there, 4 here\): write modalities.a.modality as"):
        plan_of(recipe)


def test_a_tower_that_shares_an_encoder_has_the_teacher_of_its_owner(run):
    recipe = taught(str(run))
    recipe["modalities"]["b"] = {"views": PLAIN, "encoder": {"share": "a"}, "teacher": str(run)}
    with pytest.raises(RecipeError, match="teacher belongs to the tower that has the encoder, 'a'"):
        plan_of(recipe)


def own(teachers):
    modality = toys.VectorModality()
    torch.manual_seed(0)
    return Learner({"a": toys.MLP(modality)}, toys.Mimic(), teachers=teachers)


def test_in_a_loop_of_ones_own_it_is_handed_in_and_follows_the_learner():
    teacher = toys.MLP(toys.VectorModality(), dim=5)
    learner = own({"a": teacher})
    assert learner.double().teachers["a"].net[0].weight.dtype == torch.float64
    average = WeightAverage(learner, 0.9, torch.device("cpu")).read()
    assert average.teachers["a"] is average.objective.teachers["a"] is teacher
    view = sensorium.View(toys.VectorBatch(torch.randn(4, 8, dtype=torch.float64)))
    learner([view]).loss.backward()
    assert all(p.grad is None for p in teacher.parameters())
    with pytest.raises(RecipeError, match=r"Mimic predicts .* none of 'a': hand it in, Learner\(\.\.\., teachers="):
        own(None)
    with pytest.raises(RecipeError, match="a teacher of 'b', of which it has no encoder: it has those of a"):
        own({"a": teacher, "b": teacher})
    with pytest.raises(RecipeError, match="teacher of 'a' is an object of type Linear"):
        own({"a": torch.nn.Linear(2, 2)})
