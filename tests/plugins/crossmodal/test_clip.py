"""CLIP and its negatives on toy towers, alone and between ranks."""

from dataclasses import replace

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from sensorium import losses
from sensorium.blocks.negatives import NegativeOptions
from sensorium.errors import RecipeError
from sensorium.losses import Guide, NegativeRows
from sensorium.plugins.crossmodal.align import Align
from sensorium.plugins.crossmodal.clip import CLIP
from sensorium.plugins.crossmodal.fastclip import FastCLIP
from sensorium.plugins.crossmodal.siglip import SigLIP
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions
from sensorium.registration.options import check_options
from tests import toys
from tests.distributed.ranks import on_ranks
from tests.plugins.crossmodal.test_align import PRESENT, joint, learner, views

PAIR = {name: PRESENT[name] for name in ("a", "b")}
BOTH = PRESENT["a"] & PRESENT["b"]
GROUPS = torch.arange(8) // 2


def known(present=PAIR, rows=slice(0, 8), wrong=()):
    """Views whose records have keys, and corrupted negatives of some modalities."""
    made = views(rows, present)
    for name, found in made.items():
        mask = present[name][rows]
        for view in found:
            view.keys = {"record": torch.arange(8)[rows][mask], "group": GROUPS[rows][mask]}
        if name in wrong and found:
            found.append(replace(found[0], batch=toys.VectorBatch(found[0].batch.values.flip(1)), is_negative=True))
    return made


def placed(model, given):
    x, y = (joint(model, given, name)[BOTH] for name in ("a", "b"))
    return x, y, model.objective.log_scale.exp().squeeze()


def test_corrupted_negatives_are_negatives_of_the_other_modality_alone():
    model, given = learner(CLIP(), ("a", "b")), known(wrong=["b"])
    x, y, scale = placed(model, given)
    wrong = model.objective.project["b"](model.encoders["b"].net(given["b"][1].batch.values))
    expected = losses.hn_nce(x, y, scale, beta=0.0, extra_negatives_x=[NegativeRows(wrong, shared=False)])
    outcome = model(given)
    assert torch.allclose(outcome.loss, expected, rtol=1e-12)
    assert outcome.loss > 1.01 * losses.clip(x, y, scale)


def test_memory_guide_and_weights_are_those_of_the_options():
    asked = NegativeOptions(beta=0.5, alpha=0.7, prior=0.01, memory=32, guide="a", margin=0.5)
    model = learner(CLIP(negatives=asked), ("a", "b"))
    model(known())
    model.objective.after_step(0.0)  # fills the memories
    given = known()
    kept = {name: NegativeRows(m.rows.clone(), m.ids.clone()) for name, m in model.objective.negatives.memories.items()}
    assert kept["a"].ids_M[:6].tolist() == [*BOTH.nonzero().flatten().tolist(), losses.NO_ID]  # who has a partner
    x, y, scale = placed(model, given)
    features = model.encoders["a"].net(given["a"][0].batch.values)[BOTH[PRESENT["a"]]]
    expected = losses.hn_nce(
        x, y, scale, 0.7, 0.5, torch.arange(8)[BOTH], Guide(features, features, 0.5), 0.01, [kept["b"]], [kept["a"]]
    )
    assert torch.allclose(model(given).loss, expected, rtol=1e-9)


def test_evaluation_keeps_nothing():
    model = learner(CLIP(negatives=NegativeOptions(memory=32)), ("a", "b")).eval()
    model(known())
    assert model.objective.negatives.logs()["memory/a"] == 0


def test_positives_can_be_a_group():
    model, given = learner(CLIP(positives="group"), ("a", "b")), known()
    x, y, scale = placed(model, given)
    expected = losses.unicl(x, y, scale, GROUPS[BOTH])
    assert torch.allclose(model(given).loss, expected, rtol=1e-12)
    with pytest.raises(RecipeError, match="makes no use of negative views of b"):
        model(known(wrong=["b"]))
    with pytest.raises(RecipeError, match=r"group' makes no use of negatives\.beta"):
        CLIP(positives="group", negatives=NegativeOptions(beta=1.0))


@pytest.mark.parametrize("positives", ["record", "group"])
def test_one_modality_can_be_the_anchor_alone(positives):
    given, found = known(wrong=["b"] if positives == "record" else []), {}
    for direction in ("first", "second", "both"):
        model = learner(CLIP(positives=positives, direction=direction), ("a", "b"))
        found[direction] = model(given).loss
    assert torch.allclose(found["both"], (found["first"] + found["second"]) / 2, rtol=1e-12)
    x, y, scale = placed(model, given)
    if positives == "record":  # corrupted b are negatives of a alone
        assert torch.allclose(found["second"], losses.info_nce(y, x, 1 / scale), rtol=1e-12)
        assert found["first"] > 1.01 * losses.info_nce(x, y, 1 / scale)
    else:
        expected = losses.unicl(y, x, scale, GROUPS[BOTH], both=False)
        assert torch.allclose(found["second"], expected, rtol=1e-12)


def test_every_pair_can_have_one_direction():
    given, found = known(PRESENT), {}
    for direction in ("first", "second", "both"):
        found[direction] = learner(Align(direction=direction))(given).logs
    for pair in ("a-b", "a-c", "b-c"):
        one, other, both = (found[direction][f"loss/{pair}"] for direction in ("first", "second", "both"))
        assert torch.allclose(both, (one + other) / 2, rtol=1e-12)
        assert one != other


def test_siglip_has_a_memory_too_and_refuses_weights():
    model = learner(SigLIP(negatives=NegativeOptions(memory=16)), ("a", "b"))
    plain = learner(SigLIP(), ("a", "b"))
    plain.load_state_dict(model.state_dict(), strict=False)
    assert model(known()).loss > plain(known()).loss
    with pytest.raises(RecipeError, match=r"no use of negatives\.beta"):
        SigLIP(negatives=NegativeOptions(beta=1.0))


def test_fastclip_keeps_an_ema_of_each_records_normalizer():
    model = learner(FastCLIP(slots=100), ("a", "b"))
    objective = model.objective
    first = model(known())
    assert (objective.running_S2 < losses.LOG_ZERO / 2).all(), "a step that is skipped leaves the table as it was"
    objective.after_step(0.0)
    kept = objective.running_S2[:8].clone()
    assert (kept[BOTH] > losses.LOG_ZERO / 2).all()
    assert (kept[~BOTH] < losses.LOG_ZERO / 2).all()  # and nobody else's slot is touched
    gaps = losses.log_normalizers(
        joint(model, known(), "a")[BOTH], joint(model, known(), "b")[BOTH], 1 / objective.log_temperature.exp()[0]
    )
    assert torch.allclose(kept[BOTH], gaps.to(kept.dtype), rtol=1e-5)  # at rate 1 what runs is the batch's
    objective.after_step(1.0)
    assert torch.isclose(objective.gamma_now, torch.tensor(0.2, dtype=objective.gamma_now.dtype))
    objective.running_S2[:8] += 2.0
    second = model(known())
    objective.after_step(1.0)
    moved = losses.log_ema(kept[BOTH] + 2, gaps.detach(), 0.2)
    assert torch.allclose(objective.running_S2[:8][BOTH].double(), moved, rtol=1e-5)
    assert second.loss > first.loss
    objective.log_temperature.data -= 9
    objective.after_step(1.0)
    assert torch.isclose(objective.log_temperature.exp(), torch.tensor(0.01).double()).all()


def test_a_frozen_anchor_is_the_joint_space():
    model = learner(Align(pairs="star", anchor="a"))
    given = known(PRESENT)
    before = model.encoders["a"].net.weight.clone()
    outcome = model(given)
    outcome.loss.backward()
    assert model.encoders["a"].net.weight.grad is None
    assert all(model.objective.project[name].weight.grad.abs().sum() > 0 for name in "bc")
    rows_a = model.encoders["a"].net(given["a"][0].batch.values)
    assert torch.equal(model.objective.embed("a", rows_a), rows_a)
    assert torch.equal(model.encoders["a"].net.weight, before)
    with pytest.raises(RecipeError, match="'d' of 'align' is none of"):
        learner(Align(anchor="d"))
    with pytest.raises(RecipeError, match="is 6 wide, not the given dim of 8"):
        learner(Align(anchor="a", dim=8))


FIRST_HALF = torch.arange(8) < 4
CASES = {
    "corrupted negatives on rank 0 alone": (NegativeOptions(memory=12), 4, PAIR | {"b": BOTH & FIRST_HALF}),
    "everything": (NegativeOptions(beta=0.5, prior=0.01, memory=12, guide="a", margin=0.5), 5, PAIR),
    "no pair on rank 1": (NegativeOptions(memory=12, guide="b"), 4, {n: mask & FIRST_HALF for n, mask in PAIR.items()}),
    "siglip": (lambda: SigLIP(bias=-2.0, negatives=NegativeOptions(memory=12)), 2, PAIR),
    "groups": (lambda: CLIP(positives="group"), 3, PAIR),
    "fastclip": (lambda: FastCLIP(slots=50), 3, PAIR),
    "second alone": (lambda: CLIP(direction="second", negatives=NegativeOptions(memory=12, guide="a")), 5, PAIR),
    "anchor": (lambda: Align(pairs="chain", anchor="a", negatives=NegativeOptions(memory=12)), 3, PRESENT),
}
"""The objective, or CLIP's negatives; where the records are cut between two ranks; and who has what."""


def two_steps(rank, world):
    found = {}
    for name, (given, cut, present) in CASES.items():
        clip = isinstance(given, NegativeOptions)
        rows = slice(0, 8) if world == 1 else (slice(0, cut), slice(cut, 8))[rank]
        model = learner(CLIP(negatives=given) if clip else given(), tuple(present))
        running = DistributedDataParallel(model) if world > 1 else model
        for _ in range(2):  # the second meets the memory that the first has filled
            model.zero_grad()
            outcome = running(known(present, rows, wrong=["b"] if clip or name == "siglip" else []))
            outcome.loss.backward()
        found[name] = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        found[name] |= {n: b.clone() for n, b in model.named_buffers()} | {"loss": outcome.loss.detach()}
    return found


def test_ranks_agree_with_one_process(tmp_path):
    first, second = on_ranks(2, two_steps, tmp_path)
    for case, whole in two_steps(0, 1).items():
        mean = (first[case].pop("loss") + second[case].pop("loss")) / 2
        assert torch.allclose(mean, whole.pop("loss"), rtol=1e-9), case
        for name, value in whole.items():
            for rank in (first, second):
                assert torch.allclose(rank[case][name], value, rtol=1e-7, atol=1e-10), (case, name)


def test_the_recipe_hn_clip_has_the_loss_of_its_paper():
    extensions = load_extensions({}, [])
    options = read_recipe("hn-clip", extensions.registry).objective.model_dump()
    assert options.pop("name") == "clip"
    model, given = learner(CLIP(**check_options(CLIP, options, "objective")), ("a", "b")), views(present=PAIR)
    x, y, scale = placed(model, given)
    assert torch.allclose(model(given).loss, losses.hn_nce(x, y, scale, alpha=1.0, beta=0.25), rtol=1e-12)
    assert not torch.allclose(model(given).loss, losses.clip(x, y, scale), rtol=1e-2)
