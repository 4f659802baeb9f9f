import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from sensorium import losses
from sensorium.contracts import Encoder
from sensorium.errors import RecipeError
from sensorium.models.learner import Learner
from sensorium.plugins.crossmodal.align import Align
from sensorium.plugins.crossmodal.clip import CLIP
from sensorium.plugins.crossmodal.modality_pairs import resolve_pairs
from sensorium.presence import presence
from sensorium.types import Features, View
from tests import toys
from tests.distributed.ranks import on_ranks

NAMES = ("a", "b", "c")
PRESENT = {
    "a": torch.tensor([1, 1, 1, 0, 1, 1, 1, 1], dtype=torch.bool),
    "b": torch.tensor([1, 0, 1, 1, 1, 1, 0, 1], dtype=torch.bool),
    "c": torch.tensor([0, 0, 1, 1, 0, 1, 1, 1], dtype=torch.bool),
}


class Linear(Encoder):
    """One linear map."""

    dim = 6

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(8, 6)

    def forward(self, batch):
        return Features(self.net(batch.values))


def learner(objective, names=NAMES):
    torch.manual_seed(0)
    return Learner({name: Linear() for name in names}, objective).double()


def views(rows=slice(0, 8), present=PRESENT):
    made = {}
    for seed, (name, mask) in enumerate(present.items()):
        values = torch.randn(8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        mask = mask[rows]
        batch = toys.VectorBatch(values[rows][mask])
        made[name] = [View(batch, modality=name, present=presence(mask))]
    return made


def absent(*names):
    return {name: mask & (name not in names) for name, mask in PRESENT.items()}


def joint(model, given, name):
    """The rows of a modality in the joint space, at the records that have it; zeros elsewhere."""
    z = torch.zeros(8, 256, dtype=torch.float64)
    present = given[name][0].present
    z[slice(None) if present is None else present] = model.objective.project[name](
        model.encoders[name].net(given[name][0].batch.values)
    )
    return z


def test_two_modalities_are_clip():
    pair = {name: PRESENT[name] for name in ("a", "b")}
    ours, clip = learner(Align(), ("a", "b")), learner(CLIP(), ("a", "b"))
    ours.load_state_dict(clip.state_dict() | {"objective.log_scales_E": clip.objective.log_scale}, strict=False)
    assert torch.allclose(ours(views(present=pair)).loss, clip(views(present=pair)).loss, rtol=1e-12)


def test_the_loss_is_the_weighted_mean_over_pairs_of_modalities():
    model, given = learner(Align(pairs=[("a", "b"), ("c", "b")], weights=[1.0, 3.0])), views()
    model.objective.log_scales_E.data += torch.tensor([0.0, 0.5])
    outcome = model(given)
    each = []
    for e, (x, y) in enumerate([("a", "b"), ("c", "b")]):
        both = PRESENT[x] & PRESENT[y]
        scale = model.objective.log_scales_E[e].exp()
        each.append(losses.clip(joint(model, given, x)[both], joint(model, given, y)[both], scale))
        assert outcome.logs[f"pairs/{x}-{y}"] == both.sum()
        assert torch.allclose(outcome.logs[f"loss/{x}-{y}"], each[e].detach(), rtol=1e-12)
    assert torch.allclose(outcome.loss, (each[0] + 3 * each[1]) / 4, rtol=1e-12)
    assert not torch.allclose(outcome.loss, (each[0] + each[1]) / 2, rtol=1e-3)


def test_a_pair_without_records_does_not_dilute_the_mean():
    whole, some = learner(Align()), learner(Align(pairs=[("a", "b")]), ("a", "b"))
    shared = {k: v for k, v in whole.state_dict().items() if ".c." not in k and not k.endswith("_E")}
    some.load_state_dict(shared, strict=False)
    pair = {name: PRESENT[name] for name in ("a", "b")}
    assert torch.allclose(whole(views(present=absent("c"))).loss, some(views(present=pair)).loss, rtol=1e-12)


def test_an_absent_modality_has_a_gradient_of_zero():
    model = learner(Align())
    model(views(present=absent("c"))).loss.backward()
    for name, parameter in model.named_parameters():
        size = parameter.grad.abs().sum()
        assert (size == 0) == (".c." in name), name
    assert model.objective.log_scales_E.grad[0] != 0
    assert (model.objective.log_scales_E.grad[1:] == 0).all()  # a-c and b-c


def test_no_pairs_at_all_is_zero():
    outcome = learner(Align())(views(present=absent("b", "c")))
    outcome.loss.backward()
    assert outcome.loss == 0


def gradients(rank, world):
    """Of one process, or of a rank that has the records before or after a cut; rank 0 has no c in the first case."""
    half = PRESENT | {"c": PRESENT["c"] & (torch.arange(8) < 4)}
    cases = {"uneven": (2, PRESENT), "c nowhere": (5, absent("c")), "c on rank 0 alone": (4, half)}
    found = {}
    for name, (cut, present) in cases.items():
        rows = slice(0, 8) if world == 1 else (slice(0, cut), slice(cut, 8))[rank]
        model = learner(Align(pairs="star"))
        running = DistributedDataParallel(model) if world > 1 else model
        outcome = running(views(rows, present))
        outcome.loss.backward()
        found[name] = {n: p.grad for n, p in model.named_parameters()} | {"loss": outcome.loss.detach()}
    return found


def test_ranks_agree_with_one_process_and_wait_for_nobody(tmp_path):
    first, second = on_ranks(2, gradients, tmp_path)
    for case, whole in gradients(0, 1).items():
        mean = (first[case].pop("loss") + second[case].pop("loss")) / 2
        assert torch.allclose(mean, whole.pop("loss"), rtol=1e-9), case
        for name, gradient in whole.items():
            for rank in (first, second):
                assert torch.allclose(rank[case][name], gradient, rtol=1e-8, atol=1e-12), (case, name)


def test_pairs_of_modalities():
    assert resolve_pairs("all", NAMES) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert resolve_pairs("star", NAMES) == [("a", "b"), ("a", "c")]
    assert resolve_pairs("chain", NAMES) == [("a", "b"), ("b", "c")]
    assert resolve_pairs([["c", "a"], ["b", "a"]], NAMES) == [("c", "a"), ("b", "a")]
    for pairs, why in [
        ("ring", "all, star, chain or a list"),
        ([("a", "d"), ("b", "c")], r"\['a', 'd'\] is no pair"),
        ([("a", "a"), ("b", "c")], r"\['a', 'a'\] is no pair"),
        ([("a", "b"), ("b", "a"), ("a", "c")], "named twice"),
        ([("a", "b")], "No pair of 'align' has c"),
    ]:
        with pytest.raises(RecipeError, match=why):
            resolve_pairs(pairs, NAMES)
    with pytest.raises(RecipeError, match="3 numbers above 0, in order of a-b, a-c, b-c"):
        learner(Align(weights=[1.0, 2.0]))


def test_logit_scales_are_clamped():
    objective = Align(max_scale=20.0)
    learner(objective).objective.log_scales_E.data += 9
    objective.after_step(0.5)
    assert torch.allclose(objective.log_scales_E.exp(), torch.tensor(20.0, dtype=torch.float64))
