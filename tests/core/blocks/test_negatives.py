"""The pool of negatives: what it says to a loss, when, and that a run resumes with it."""

import pytest
import torch

from sensorium.blocks.negatives import FeatureQueue, NegativeOptions, NegativePool
from sensorium.errors import RecipeError
from sensorium.losses import NO_ID, MixedNegatives, NegativeRows
from sensorium.plugins.crossmodal.clip import CLIP
from sensorium.registration.options import check_options

KEYS = {"record": torch.arange(4), "group": torch.tensor([0, 0, 1, 1])}


def rows(n=4, d=3, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_a_pool_without_options_is_plain_contrast():
    pool = NegativePool(None, ["a", "b"], 3)
    assert pool.weights() == {"beta": 0.0, "alpha": 1.0, "prior": 0.0}
    assert pool.ids({}) is None
    assert pool.guide({"a": rows()}) is None
    assert pool.extra_negatives("a", rows(), None) == []
    assert pool.logs() == {}
    pool.push("a", rows(), {})
    pool.after_step(0.5)
    assert set(pool.state_dict()) == {"warmup"}


def test_a_memory_keeps_rows_with_their_records_and_drops_the_oldest():
    memory = FeatureQueue(5, 3)
    assert (memory.ids == NO_ID).all()
    before = memory.rows.clone()
    memory.push(2 * rows(4), torch.arange(4))
    assert torch.equal(memory.rows, before), "a step that is skipped leaves the queue as it was"
    memory.commit()
    assert torch.allclose(memory.rows[:4], torch.nn.functional.normalize(rows(4), dim=1))
    memory.push(rows(1, seed=1), torch.tensor([8]))
    memory.push(rows(1, seed=2), torch.tensor([9]))  # of another part of the same step
    memory.commit()
    assert memory.ids.tolist() == [9, 1, 2, 3, 8]
    again = FeatureQueue(5, 3)
    again.load_state_dict(memory.state_dict())
    for one in (memory, again):
        one.push(rows(2, seed=2), torch.tensor([10, 11]))
        one.commit()
    assert again.ids.tolist() == memory.ids.tolist() == [9, 10, 11, 3, 8]
    assert torch.equal(again.rows, memory.rows)


def test_each_kind_is_added_to_the_others():
    pool = NegativePool(NegativeOptions(memory=6, mixed=6, hardest=3, exclude="group"), ["a"], 3)
    pool.push("a", rows(), KEYS)
    pool.after_step(0.0)
    ids = pool.ids(KEYS)
    assert torch.equal(ids, KEYS["group"])
    wrong, kept, mixed = pool.extra_negatives("a", rows(seed=1), ids, rows(2, seed=2))
    assert isinstance(wrong, NegativeRows)
    assert not wrong.shared
    assert torch.equal(kept.ids_M[:4], KEYS["group"])
    assert isinstance(mixed, MixedNegatives)
    assert mixed.rows_NSD.shape == (4, 6, 3)
    assert pool.extra_negatives("b", rows(), ids) == []  # a side without a memory
    assert torch.equal(pool.logs()["memory/a"], torch.tensor(4 / 6))


def test_a_guide_is_the_features_of_the_modality_that_is_named():
    pool = NegativePool(NegativeOptions(guide="a", margin=0.2), ["a", "b"], 3)
    features = rows()
    guide = pool.guide({"a": features, "b": rows(seed=1)})
    assert guide.x_BG is features
    assert guide.y_BG is features
    assert guide.margin == 0.2
    assert pool.guide({"b": features}) is None  # an edge without that modality
    with pytest.raises(RecipeError, match="guide 'c' of the negatives is none of the modalities a, b"):
        NegativePool(NegativeOptions(guide="c"), ["a", "b"], 3)


def test_hardness_and_mixtures_come_in_during_the_warmup_and_a_run_resumes_on_it():
    options = NegativeOptions(beta=2.0, memory=8, mixed=10, warmup=(0.2, 0.6))
    pool = NegativePool(options, ["a"], 3)
    ids = torch.arange(4)
    found = []
    for progress in (0.0, 0.2, 0.4, 0.6, 1.0):
        pool.after_step(progress)
        mixed = [
            part.rows_NSD.shape[1]
            for part in pool.extra_negatives("a", rows(), ids)
            if isinstance(part, MixedNegatives)
        ]
        found.append((round(pool.weights()["beta"], 5), sum(mixed)))
    assert found == [(0.0, 0), (0.0, 0), (1.0, 5), (2.0, 10), (2.0, 10)]
    pool.after_step(0.2)
    assert pool.extra_negatives("a", rows(), ids) == []  # the memory waits too, unless it is all there is
    assert len(NegativePool(options, ["a"], 3, memory_after_warmup=False).extra_negatives("a", rows(), ids)) == 1
    pool.after_step(0.4)
    again = NegativePool(options, ["a"], 3)
    again.load_state_dict(pool.state_dict())
    assert again.weights() == pool.weights()


@pytest.mark.parametrize("bad", [{"beta": -1.0}, {"prior": 1.0}, {"alpha": -0.1}, {"warmup": (0.5, 0.2)}])
def test_options_out_of_range_are_refused(bad):
    with pytest.raises(RecipeError, match="of the negatives"):
        NegativeOptions(**bad)


def test_mixtures_need_a_memory():
    with pytest.raises(RecipeError, match="set memory"):
        NegativePool(NegativeOptions(mixed=4), ["a"], 3)


def test_a_recipe_gives_them_as_a_mapping():
    given = check_options(CLIP, {"negatives": {"beta": 0.5, "warmup": [0.0, 0.5]}}, "objective")
    assert given["negatives"] == NegativeOptions(beta=0.5, warmup=(0.0, 0.5))
    with pytest.raises(RecipeError, match=r"objective\.negatives\.bet = 0\.5.*did you mean 'beta'"):
        check_options(CLIP, {"negatives": {"bet": 0.5}}, "objective", name="clip")
    with pytest.raises(RecipeError, match=r"objective\.negatives\.memory = '9' is not an integer"):
        check_options(CLIP, {"negatives": {"memory": "9"}}, "objective", name="clip")


def test_the_warm_up_of_a_checkpoint_is_that_of_the_run_which_wrote_it():
    """It is known on the host, without reading the device in every step, and the same after a resume."""
    options = NegativeOptions(beta=0.5, warmup=(0.0, 1.0))
    trained, resumed = NegativePool(options, ["a"], 4), NegativePool(options, ["a"], 4)
    trained.after_step(0.3)
    resumed.load_state_dict(trained.state_dict())
    assert resumed.weights() == trained.weights() != NegativePool(options, ["a"], 4).weights()
