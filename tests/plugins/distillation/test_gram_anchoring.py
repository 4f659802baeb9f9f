import copy
import io
from dataclasses import replace

import pytest
import torch
from torch import nn

from sensorium import Sum, Term, losses
from sensorium.errors import RecipeError, SensoriumError
from sensorium.modalities.image.encoders.vit import ViT
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views.multicrop import MultiCropViews
from sensorium.models.learner import Learner
from sensorium.optimizers.adamw import adamw
from sensorium.plugins.distillation.gram_anchoring import GramOptions
from sensorium.registration.options import check_options
from sensorium.seeding import seed_globals
from tests.golden.pairs import Unserved, learner_and_views, pairs, registry, small
from tests.plugins.joint_embedding import OPTIONS, learner_of, objective_class, step, views_of
from tests.plugins.toy_tokens import StepEncoder

STEPS = 10
LATE = GramOptions(start=0.3, refresh=0.2, refreshes=2, local_weight=0.5)
"""Gram teachers after steps 3, 5 and 7 of ten."""
FROM_THE_START = GramOptions(start=0.0, local_weight=1.0)


def trained(learner, start, stop, optimizer):
    return [step(learner, views_of("dinov2", seed=n), optimizer, n, STEPS) for n in range(start, stop)]


def optimizer_of(learner):
    return adamw(learner, 3e-3, weight_decay=0.05)


def masked_views(seed=0, count=12):
    """Views whose global ones carry masks."""
    views = views_of("dinov2", count, seed)
    for number, view in enumerate(views["a"][:2]):
        view.info["masked"] = torch.rand(count, 8, generator=torch.Generator().manual_seed(number)) < 0.4
    return views


def test_before_the_start_nothing_is_computed_and_all_is_as_without():
    with_gram, without = learner_of("dinov2", gram=LATE), learner_of("dinov2")
    calls = []
    with_gram.objective.anchoring.teacher.encoders["a"].register_forward_hook(lambda *_: calls.append(1))
    found = [trained(learner, 0, 3, optimizer_of(learner)) for learner in (with_gram, without)]
    assert calls == []
    assert [o.logs.keys() for o in found[0]] == [o.logs.keys() for o in found[1]]
    assert all(torch.equal(one.loss, other.loss) for one, other in zip(*found, strict=True))
    state = with_gram.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in without.state_dict().items())
    trained(with_gram, 3, 4, optimizer_of(with_gram))
    assert len(calls) == 2, "one pass of each global view"


def gram_state(learner):
    return copy.deepcopy(learner.objective.anchoring.teacher.encoders.state_dict())


def teacher_state(learner):
    return copy.deepcopy(learner.objective.teacher.encoders.state_dict())


def same(one, other):
    return all(torch.equal(value, other[key]) for key, value in one.items())


def test_the_ema_teacher_becomes_the_gram_teacher_at_the_start_and_at_refreshes_alone():
    learner = learner_of("dinov2", gram=LATE)
    optimizer, anchoring = optimizer_of(learner), learner.objective.anchoring
    before, taken = gram_state(learner), []
    for number in range(STEPS):
        trained(learner, number, number + 1, optimizer)
        if not same(gram_state(learner), before):
            taken.append(number + 1)
            assert same(gram_state(learner), teacher_state(learner)), "of the EMA teacher after its update"
        before = gram_state(learner)
    assert taken == [3, 5, 7]
    assert anchoring.taken == anchoring.teachers == 3
    assert not same(gram_state(learner), teacher_state(learner)), "the EMA teacher moves on"


def passes(learner, views):
    """Return the student's features of masked global views, and what gives those of the whole ones by an encoder."""
    encoder, token = learner.encoders["a"], learner.objective.mask_token
    students = []
    for view in views["a"][:2]:
        tokens = encoder.tokenize(view.batch)
        masked = view.info["masked"] & tokens.mask
        students.append(encoder.encode_tokens(replace(tokens, x=torch.where(masked[..., None], token, tokens.x))))
    return students, lambda other: [other(view.batch) for view in views["a"][:2]]


def test_is_the_loss_of_the_masked_students_tokens_against_the_gram_teachers_of_whole_views():
    learner, views = learner_of("dinov2", gram=replace(LATE, weight=3.0)), masked_views()
    trained(learner, 0, 4, optimizer_of(learner))
    learner.eval()
    objective, encoder = learner.objective, learner.encoders["a"]
    with torch.no_grad():
        for parameter in (*encoder.parameters(), *objective.teacher.encoders.parameters()):  # far from each other
            parameter.add_(0.2 * torch.randn_like(parameter))
        students, whole = passes(learner, views)
        anchored = lambda xs, ys, mask=True: sum(  # noqa: E731
            losses.gram_anchoring(x.tokens, y.tokens, x.mask if mask else None) for x, y in zip(xs, ys, strict=True)
        ) / len(xs)  # fmt: skip
        gram = whole(objective.anchoring.teacher.encoders["a"])
        expected = anchored(students, gram)
        outcome = learner(views)
        assert torch.allclose(outcome.logs["gram_loss"], expected, rtol=1e-5)
        objective.anchoring._taken_on_host = 0
        plain = learner(views)
        objective.anchoring._taken_on_host = 1
        local = losses_of_views(learner, views, [1, 1, 0.5, 0.5]) - losses_of_views(learner, views, None)
        assert torch.allclose(outcome.loss - plain.loss, 3.0 * expected + local, rtol=1e-4, atol=1e-5)
        mutants = {
            "an unmasked student": anchored(whole(encoder), gram),
            "the EMA teacher": anchored(students, whole(objective.teacher.encoders["a"])),
            "a teacher that sees masks": anchored(students, [passes_of_gram(objective, v) for v in views["a"][:2]]),
            "views exchanged": anchored(students, gram[::-1]),
            "padding": anchored(students, gram, mask=False),
            "a sum over views": 2 * expected,
        }
    for name, wrong in mutants.items():
        assert not torch.allclose(outcome.logs["gram_loss"], wrong, rtol=1e-3), name


def passes_of_gram(objective, view):
    encoder = objective.anchoring.teacher.encoders["a"]
    tokens = encoder.tokenize(view.batch)
    masked = view.info["masked"] & tokens.mask
    seen = torch.where(masked[..., None], objective.mask_token, tokens.x)
    return encoder.encode_tokens(replace(tokens, x=seen))


def losses_of_views(learner, views, weights):
    """Return DINO's loss of all views, whose terms have weights."""
    objective, encoder = learner.objective, learner.encoders["a"]
    students = [s.pooled for s in passes(learner, views)[0]] + [encoder(v.batch).pooled for v in views["a"][2:]]
    teacher = torch.cat([objective.teacher.encoders["a"](v.batch).pooled for v in views["a"][:2]])
    temperature = objective.current_teacher_temperature()
    targets = losses.sinkhorn_knopp(objective.teacher.heads["head"](teacher), temperature).chunk(2)
    return losses.swapped_cross_entropy([objective.head(p) for p in students], targets, 0.1, weights)


def test_the_weight_warms_up_from_the_start_on():
    learner, views = learner_of("dinov2", gram=GramOptions(start=0.2, warmup=0.4)).eval(), masked_views()
    objective, factors = learner.objective, []
    for progress in (0.2, 0.3, 0.6, 0.9):
        objective.after_step(progress)
        factors.append(float(objective.anchoring.warmed_up(objective.progress)))
    assert factors == pytest.approx([0.0, 0.25, 1.0, 1.0], abs=1e-6)
    objective.after_step(0.4)
    with torch.no_grad():
        for parameter in learner.encoders.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        outcome = learner(views)
        local = losses_of_views(learner, views, [1, 1, 0.75, 0.75]) - losses_of_views(learner, views, None)
        objective.anchoring._taken_on_host = 0
        difference = outcome.loss - learner(views).loss
    assert torch.allclose(difference, 0.5 * 2.0 * outcome.logs["gram_loss"] + local, rtol=1e-4, atol=1e-5)


def stored(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("stop", [2, 3, 6])
def test_a_resumed_training_is_bit_equal_across_the_start_and_refreshes(stop):
    learner, other = (learner_of("dinov2", gram=LATE) for _ in range(2))
    optimizer, other_optimizer = optimizer_of(learner), optimizer_of(other)
    trained(other, 0, (stop + 4) % STEPS, other_optimizer)  # it has seen another number of Gram teachers
    trained(learner, 0, stop, optimizer)
    other.load_state_dict(stored(learner.state_dict()))
    other_optimizer.load_state_dict(stored(optimizer.state_dict()))
    one, two = (trained(which, stop, STEPS, o) for which, o in ((learner, optimizer), (other, other_optimizer)))
    assert all(torch.equal(a.loss, b.loss) for a, b in zip(one, two, strict=True))
    assert same(learner.state_dict(), other.state_dict())


def test_a_training_that_became_longer_takes_its_gram_teacher_anew():
    learner = learner_of("dinov2", gram=LATE)
    trained(learner, 0, 6, optimizer_of(learner))
    anchoring = learner.objective.anchoring
    assert anchoring.teachers == 2
    before = gram_state(learner)
    learner.objective.after_step(0.2)
    assert not anchoring.is_on
    assert same(gram_state(learner), before)
    learner.objective.after_step(0.3)
    assert anchoring.teachers == 1
    assert same(gram_state(learner), teacher_state(learner))


def test_from_the_start_on_it_holds_what_the_student_begins_with():
    learner = learner_of("dinov2", gram=FROM_THE_START)
    begins = copy.deepcopy(learner.encoders.state_dict())
    outcome = trained(learner, 0, 3, optimizer_of(learner))[0]
    assert outcome.logs["gram_loss"] > 0, "of masked tokens alone"
    assert same(gram_state(learner), begins)
    learner = learner_of("dinov2", gram=FROM_THE_START, mask_probability=0.0)
    assert learner(views_of("dinov2")).logs["gram_loss"] < 1e-12


def test_a_term_of_a_sum_that_sets_in_later_anchors_what_the_student_is_then():
    seed_globals("sum")
    late = objective_class("dinov2")(**OPTIONS["dinov2"], gram=FROM_THE_START)
    terms = Sum([objective_class("vicreg")(**OPTIONS["vicreg"]), Term(late, start=0.5)])
    learner = Learner({"a": StepEncoder()}, terms, views=4).train()
    optimizer = optimizer_of(learner)
    outcomes = trained(learner, 0, 5, optimizer)
    assert same(late.anchoring.teacher.encoders.state_dict(), learner.encoders.state_dict())
    outcomes += trained(learner, 5, 6, optimizer)
    assert ["dinov2/gram_loss" in outcome.logs for outcome in outcomes] == [False] * 5 + [True]


def test_the_gram_teacher_is_never_trained_and_every_weight_of_the_student_is():
    learner = learner_of("dinov2", gram=FROM_THE_START)
    optimizer = optimizer_of(learner)
    owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
    gram = list(learner.objective.anchoring.parameters())
    assert gram
    assert not any(p.requires_grad or id(p) in owned for p in gram)
    learner(views_of("dinov2")).loss.backward()
    assert all(p.grad is None for p in gram)
    assert [n for n, p in learner.named_parameters() if p.requires_grad and p.grad is None] == []


def test_tokens_return_to_the_similarities_of_the_gram_teacher():
    """A wrong sign, or a gradient that does not arrive, leaves them where they are."""
    learner = learner_of("dinov2", gram=GramOptions(weight=100.0, start=0.0, local_weight=1.0))
    with torch.no_grad():
        for parameter in learner.encoders.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    optimizer = optimizer_of(learner)
    found = [step(learner, masked_views(number), optimizer, number, 80).logs["gram_loss"] for number in range(80)]
    assert sum(found[-3:]) < 0.5 * sum(found[:3])


class NormedEncoder(StepEncoder):
    """Its tokens pass a batch norm."""

    def __init__(self):
        super().__init__()
        self.normed = nn.BatchNorm1d(self.dim)

    def tokenize(self, batch):
        tokens = super().tokenize(batch)
        return replace(tokens, x=self.normed(tokens.x.mT).mT)


def test_batch_norms_of_the_gram_teacher_are_frozen_with_the_statistics_of_the_ema_teacher():
    seed_globals("normed")
    options = OPTIONS["dinov2"] | {"gram": LATE}
    learner = Learner({"a": NormedEncoder()}, objective_class("dinov2")(**options)).train()
    optimizer = optimizer_of(learner)
    trained(learner, 0, 3, optimizer)
    norm = learner.objective.anchoring.teacher.encoders["a"].normed
    assert torch.equal(norm.running_mean, learner.objective.teacher.encoders["a"].normed.running_mean)
    before = norm.running_mean.clone()
    learner.train()
    assert not any(module.training for module in learner.objective.anchoring.modules())
    trained(learner, 3, 4, optimizer)
    assert torch.equal(norm.running_mean, before)
    assert norm.num_batches_tracked > 0


def test_masked_copies_of_a_record_are_anchored_to_one_pass_of_the_gram_teacher():
    """Copies of which nothing is masked have the loss of one; the teacher sees each view once."""
    found, calls = [], []
    for masks in (1, 3):
        learner = learner_of("dinov2", gram=FROM_THE_START, masks=masks, mask_probability=0.0).eval()
        learner.objective.anchoring.teacher.encoders["a"].register_forward_pre_hook(
            lambda _, given: calls.append(len(given[0]))
        )
        with torch.no_grad():
            for parameter in learner.encoders.parameters():
                parameter.mul_(1.5)
            found.append(learner(views_of("dinov2")).logs["gram_loss"])
    assert torch.allclose(*found, rtol=1e-5)
    assert calls == [12] * 4


@pytest.mark.parametrize("count", [0, 1])
def test_few_records_are_no_trouble(count):
    learner = learner_of("dinov2", gram=FROM_THE_START).eval()
    outcome = learner(views_of("dinov2", count))
    outcome.loss.backward()
    assert outcome.loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in learner.parameters())


def test_half_precision_stays_near():
    values = []
    for half in (False, True):
        learner = learner_of("dinov2", gram=replace(FROM_THE_START, weight=10.0))
        seed_globals("forward")
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            outcome = learner(views_of("dinov2"))
        assert outcome.logs["gram_loss"].dtype == torch.float32
        values.append(float(outcome.loss.detach()))
    assert abs(values[1] - values[0]) < 0.05 * abs(values[0])


def test_options_are_those_of_a_recipe():
    made = check_options(objective_class("dinov2"), {"gram": {"weight": 1.5, "refresh": 0.1}}, "objective")["gram"]
    assert made == GramOptions(weight=1.5, refresh=0.1)
    assert [made.teachers(p / 100) for p in (49, 50, 59, 60, 70, 80, 90, 100)] == [0, 1, 1, 2, 3, 4, 4, 4]
    assert GramOptions(start=0.7).teachers(7 / 10) == GramOptions(start=0.7).teachers(1.0) == 1


@pytest.mark.parametrize(
    "wrong", [{"weight": -1.0}, {"start": 1.0}, {"warmup": 2.0}, {"refresh": -0.1}, {"refreshes": 0}]
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(SensoriumError, match=next(iter(wrong))):
        GramOptions(**wrong)


def test_refreshes_without_a_refresh_are_refused():
    with pytest.raises(RecipeError, match="no effect without refresh"):
        GramOptions(refreshes=2)


def image_learner(**of_views):
    """A vision transformer of 4 x 2 patches, anchored from the start, and views of eight images."""
    modality = ImageModality(size=(16, 8))
    seed_globals("images")
    encoder = ViT(modality, patch=4, width=16, depth=1, heads=2)
    learner = Learner({"image": encoder}, objective_class("dinov2")(**OPTIONS["dinov2"], gram=FROM_THE_START))
    images = torch.randint(256, (8, 3, 16, 8), dtype=torch.uint8)
    generator = MultiCropViews(modality, local_views=2, local_size=8, **of_views)
    views = generator(modality.collate(list(images)), torch.Generator().manual_seed(0))
    return learner.train(), {"image": [replace(view, modality="image") for view in views]}


def test_the_gram_teacher_sees_the_clean_copy_and_its_map_is_resized_before_cosines():
    """Mutants: the view itself, resized cosines, nearest neighbors, rows and columns exchanged."""
    learner, views = image_learner(clean_scale=2)
    encoder, shapes = learner.objective.anchoring.teacher.encoders["image"], []
    encoder.register_forward_pre_hook(lambda _, given: shapes.append(given[0].pixels.shape[2:]))
    for view in views["image"][:2]:
        view.info["masked"] = torch.zeros(8, 8, dtype=torch.bool)
    with torch.no_grad():
        for weights in encoder.norm.parameters():  # or else tokens would be of one norm
            weights.normal_(0, 2)
        found = learner.eval()(views).logs["gram_loss"]
        assert [tuple(shape) for shape in shapes] == [(32, 16)] * 2
        by_kind = {}
        for kind in ("bicubic", "nearest", "normalized first", "exchanged", "the view"):
            parts = []
            for view in views["image"][:2]:
                own = learner.encoders["image"](view.batch).tokens
                fine = encoder(view.batch.with_tensor(view.info["clean"])).tokens
                fine = nn.functional.normalize(fine, dim=2) if kind == "normalized first" else fine
                rows, columns, size = (4, 8, (2, 4)) if kind == "exchanged" else (8, 4, (4, 2))
                map_BDHW = fine.mT.reshape(8, 16, rows, columns)
                align = {} if kind == "nearest" else {"align_corners": False}
                mode = "nearest" if kind == "nearest" else "bicubic"
                coarse = nn.functional.interpolate(map_BDHW, size, mode=mode, **align).flatten(2).mT
                parts.append(losses.gram_anchoring(own, encoder(view.batch).tokens if kind == "the view" else coarse))
            by_kind[kind] = sum(parts) / 2
    assert torch.allclose(found, by_kind.pop("bicubic"), rtol=1e-4)
    for kind, wrong in by_kind.items():
        assert not torch.allclose(found, wrong, rtol=1e-3), kind


def test_a_clean_copy_of_the_same_resolution_is_not_resized():
    learner, views = image_learner(clean_scale=1)
    assert 0 < learner(views).logs["gram_loss"] < 4


def test_maps_without_a_common_grid_are_refused():
    learner, views = image_learner(clean_scale=2)
    anchoring = learner.objective.anchoring
    for grid in (None, (3, 5)):
        anchoring.grid = grid
        with pytest.raises(RecipeError, match=r"32 tokens, and the student 8 .* leave the option clean_scale"):
            learner(views)


SERVED = [names for name, names in pairs() if name == "dinov2"]


@pytest.mark.parametrize("names", SERVED, ids="+".join)
def test_anchors_the_tokens_of_every_modality(names):
    try:
        plain, views = learner_and_views("dinov2", names)
    except Unserved:
        return
    cls = registry().find("objectives", "dinov2").load()
    learner = Learner(dict(plain.encoders), cls(**small(cls), gram=GramOptions(start=0.25))).train()
    optimizer, found = adamw(learner, 1e-3, weight_decay=0.05), []
    for number in range(4):
        found.append(step(learner, views(number), optimizer, number, steps=4))
    assert all(outcome.loss.isfinite() for outcome in found)
    assert ["gram_loss" in outcome.logs for outcome in found] == [False, True, True, True]
    assert 0 < found[-1].logs["gram_loss"] < 4
