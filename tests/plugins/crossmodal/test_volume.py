from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from sensorium import losses
from sensorium.errors import RecipeError
from sensorium.models.learner import Learner
from sensorium.plugins.crossmodal.volume import Volume
from sensorium.training.gradient_cache import GradientCache
from sensorium.types import View
from tests import toys
from tests.distributed.ranks import on_ranks
from tests.plugins.crossmodal.test_align import NAMES, PRESENT, Linear, absent, joint, learner, views

KINDS = {
    "gram": {},
    "gram without cosines": {"cosine": 0.0},
    "triangle": {"kind": "triangle"},
    "symile": {"kind": "symile"},
    "symile n^2": {"kind": "symile", "negatives": "n^2"},
}
every = pytest.mark.parametrize("kind", KINDS)
COMPLETE = {name: torch.ones(8, dtype=torch.bool) for name in NAMES}


def expected(kind, z, scale):
    options = KINDS[kind]
    if options.get("kind") == "symile":
        return losses.symile(z, scale, options.get("negatives", "n"))
    return losses.volume_contrast(z, scale, options.get("kind", "gram"), options.get("cosine", 1.0))


def rows_of(model, given, pattern, present=PRESENT):
    """The rows of the records that have exactly these modalities."""
    chosen = torch.stack([present[n] if n in pattern else ~present[n] for n in NAMES]).all(0)
    return [joint(model, given, name)[chosen] for name in pattern]


@every
def test_records_are_contrasted_with_those_that_have_the_same_modalities_and_count_alike(kind):
    model, given = learner(Volume(**KINDS[kind])), views()
    model.objective.log_scales_K.data += torch.tensor([0.0, 0.5])
    scales, total, records = model.objective.log_scales_K.exp(), 0.0, 0
    for size in (2, 3):
        for pattern in combinations(NAMES, size):
            z = rows_of(model, given, pattern)
            if len(z[0]) and (kind != "triangle" or size == 3):
                total = total + len(z[0]) * expected(kind, z, scales[size - 2])
                records += len(z[0])
    outcome = model(given)
    assert records == (3 if kind == "triangle" else 7)  # one record has one modality alone
    torch.testing.assert_close(outcome.loss, total / records, rtol=1e-10, atol=0)
    assert outcome.logs["tuples"] == records
    a, b = (joint(model, given, n)[PRESENT["a"] & PRESENT["b"]] for n in ("a", "b"))
    torch.testing.assert_close(
        outcome.logs["cosine/a-b"], F.cosine_similarity(a, b).mean().float(), rtol=1e-4, atol=1e-5
    )
    assert {name: len(rows) for name, rows in outcome.features.items()} == {n: int(PRESENT[n].sum()) for n in NAMES}


@every
def test_complete_records_are_one_tuple_each(kind):
    model, given = learner(Volume(**KINDS[kind])), views(present=COMPLETE)
    z = [joint(model, given, name) for name in NAMES]
    torch.testing.assert_close(model(given).loss, expected(kind, z, torch.tensor(1 / 0.07)), rtol=1e-6, atol=0)


@every
def test_what_lacks_a_partner_has_a_gradient_of_zero(kind):
    model = learner(Volume(**KINDS[kind]))
    model(views(present=absent("c"))).loss.backward()
    for name, parameter in model.named_parameters():
        nothing = ".c." in name or kind == "triangle"
        assert nothing == (parameter.grad.abs().sum() == 0), name
    model.zero_grad()
    outcome = model(views(present=absent("b", "c")))
    outcome.loss.backward()
    assert outcome.loss == 0
    assert all((p.grad == 0).all() for p in model.parameters())


def test_anchors():
    model, given = learner(Volume(anchors=["b"])), views(present=COMPLETE)
    z, scale = [joint(model, given, name) for name in NAMES], torch.tensor(1 / 0.07)
    torch.testing.assert_close(model(given).loss, losses.volume_contrast(z, scale, anchors=[1]), rtol=1e-6, atol=0)
    assert ("a", "c") not in model.objective.patterns  # neither is the anchor
    assert model.objective.patterns["b", "c"] == [0]


def gradients(rank, world):
    """Of one process, or of a rank that has the records before or after a cut."""
    half = PRESENT | {"c": PRESENT["c"] & (torch.arange(8) < 4)}
    cases = {
        "uneven": (2, PRESENT),
        "c nowhere": (5, absent("c")),
        "c on rank 0 alone": (4, half),
        "none": (0, PRESENT),
    }
    found = {}
    for kind in ("gram", "symile n^2"):
        for name, (cut, present) in cases.items():
            rows = slice(0, 8) if world == 1 else (slice(0, cut), slice(cut, 8))[rank]
            model = learner(Volume(**KINDS[kind]))
            running = DistributedDataParallel(model) if world > 1 else model
            outcome = running(views(rows, present))
            outcome.loss.backward()
            found[kind, name] = {n: p.grad for n, p in model.named_parameters()} | {"loss": outcome.loss.detach()}
    return found


def test_ranks_agree_with_one_process_and_wait_for_nobody(tmp_path):
    first, second = on_ranks(2, gradients, tmp_path)
    for case, whole in gradients(0, 1).items():
        mean = (first[case].pop("loss") + second[case].pop("loss")) / 2
        torch.testing.assert_close(mean, whole.pop("loss"), rtol=1e-9, atol=0)
        for name, gradient in whole.items():
            for rank in (first, second):
                torch.testing.assert_close(rank[case][name], gradient, rtol=1e-7, atol=1e-11)


@every
def test_gradient_caching_is_exact(kind):
    whole = learner(Volume(**KINDS[kind]))
    whole(views()).loss.backward()
    parted = learner(Volume(**KINDS[kind]))
    GradientCache([views(slice(0, 3)), views(slice(3, 8))], parted).backward()
    for one, other in zip(whole.parameters(), parted.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-7, atol=1e-11)


def signs(seed, product):
    """Views of three modalities, any two of which are independent; the third is the product of the others, or not."""
    rng = torch.Generator().manual_seed(seed)
    a, b, c = (torch.randn(32, 8, generator=rng).sign() for _ in range(3))
    return {
        n: [View(toys.VectorBatch(x), modality=n)] for n, x in zip(NAMES, (a, b, a * b if product else c), strict=True)
    }


@pytest.mark.parametrize(("kind", "sees"), [("symile", True), ("symile n^2", True), ("gram", False)])
def test_symile_alone_learns_what_no_two_modalities_say(kind, sees):
    torch.manual_seed(0)
    model = Learner({name: Linear() for name in NAMES}, Volume(dim=8, **KINDS[kind]))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for step in range(60):
        optimizer.zero_grad()
        model(signs(step, product=True)).loss.backward()
        optimizer.step()
        model.objective.after_step(step / 60)
    with torch.no_grad():
        of_products, of_chance = (model(signs(999, product)).loss for product in (True, False))
    assert (of_products < of_chance - 1) == sees


def test_what_cannot_be_is_refused():
    for options, why in [
        ({"kind": "symile", "cosine": 0.5}, "'cosine' of 'volume' has no effect with 'kind: symile'"),
        ({"negatives": "n^2"}, "'negatives' of 'volume' has no effect with 'kind: gram'"),
        ({"anchors": ["a", "d"]}, r"The anchors \['a', 'd'\] of 'volume' are not one or more of a, b, c"),
        ({"cosine": -1.0}, "'cosine'"),
        ({"anchors": []}, r"The anchors \[\] of 'volume' are not one or more of a, b, c"),
    ]:
        with pytest.raises(RecipeError, match=why):
            learner(Volume(**options))
    with pytest.raises(RecipeError, match=r"A triangle has 3 modalities, not a, b: set objective\.kind to gram"):
        learner(Volume(kind="triangle"), ("a", "b"))
    assert not Volume.needs.negative_views  # a recipe with mined negatives is refused


def test_logit_scales_are_clamped_and_embeddings_are_those_of_the_loss():
    model = learner(Volume(max_scale=20.0))
    model.objective.log_scales_K.data += 9
    model.objective.after_step(0.5)
    assert torch.allclose(model.objective.log_scales_K.exp(), torch.tensor(20.0, dtype=torch.float64))
    x = torch.randn(3, 6, dtype=torch.float64)
    assert torch.equal(model.objective.embed("b", x), model.objective.project["b"](x))
    assert model.objective.joint_map("b", model.encoders["b"]).shape == (6, 256)
