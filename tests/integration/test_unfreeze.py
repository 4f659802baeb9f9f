"""A tower that is unfrozen along the training: when which of its weights move, and through a stop in the middle."""

import pytest
import torch

import sensorium
from tests import toys

STEPS = 16
LAYERS = ["net.0.weight", "net.0.bias", "net.1.weight", "net.1.bias", "net.4.weight", "net.4.bias"]
"""The weights of the toy encoder in order, first to last."""


def trained(folder, unfreeze, **changes):
    recipe = toys.pair_recipe(
        train={"steps": STEPS, "epochs": None, "accelerator": "cpu"},
        checkpoint={"every": 0.25, "keep": 100},
        optimizer={"lr": 0.01, "weight_decay": 0.1, "warmup": 0.0},
    )
    recipe["modalities"]["a"]["unfreeze"] = unfreeze
    sensorium.fit(recipe, source=toys.vectors(), run_dir=folder, extensions=toys.extensions(), **changes)
    return checkpoints(folder)


def checkpoints(folder):
    """Return step -> the weights and buffers of that checkpoint."""
    files = sorted((folder / "checkpoints").glob("step-*.ckpt"))
    return {int(file.stem.partition("-")[2]): torch.load(file, weights_only=True)["learner"] for file in files}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tmp_path_factory.mktemp("unfreeze") / "run"


@pytest.fixture(scope="module")
def states(run):
    return trained(run, [0.5, 0.75])


def moved(states, tower, step):
    """Which weights of a tower have moved between the first checkpoint and that of a step."""
    first = states[min(states)]
    names = [f"encoders.{tower}.{layer}" for layer in LAYERS]
    return [not torch.equal(first[name], states[step][name]) for name in names]


def test_weights_stay_until_the_first_share_and_all_move_after_the_second(states):
    assert min(states) <= STEPS // 4
    assert max(states) == STEPS
    held = [step for step in states if step <= STEPS // 2]
    assert len(held) > 2
    for step in held:
        assert not any(moved(states, "a", step)), step  # not by weight decay either
    assert all(moved(states, "a", STEPS))


def test_a_held_tower_keeps_the_statistics_of_its_batch_norm(states):
    """The first half of the training moves those of the free tower alone, the whole of it those of both."""
    names = {tower: f"encoders.{tower}.net.1.running_mean" for tower in "ab"}
    first, middle, last = (states[step] for step in (min(states), STEPS // 2, STEPS))
    assert torch.equal(first[names["a"]], middle[names["a"]])
    assert not torch.equal(first[names["b"]], middle[names["b"]])
    assert not torch.equal(middle[names["a"]], last[names["a"]])


def test_the_last_weights_of_the_tower_are_free_first(states):
    found = [moved(states, "a", step) for step in sorted(states)]
    assert all(row == sorted(row) for row in found)
    counts = [sum(row) for row in found]
    assert counts == sorted(counts)
    assert any(0 < count < len(LAYERS) for count in counts)


def test_the_other_tower_trains_from_the_start(states):
    second = sorted(states)[1]
    assert all(moved(states, "b", second))


def test_a_resumed_run_unfreezes_where_it_was(states, run, tmp_path):
    trained(tmp_path / "cut", [0.5, 0.75])
    for file in sorted((tmp_path / "cut" / "checkpoints").glob("step-*.ckpt")):
        if int(file.stem.partition("-")[2]) > 10:  # in the middle of being unfrozen
            file.unlink()
    sensorium.fit(resume=tmp_path / "cut", source=toys.vectors(), extensions=toys.extensions())
    resumed = checkpoints(tmp_path / "cut")[STEPS]
    assert all(torch.equal(resumed[name], tensor) for name, tensor in states[STEPS].items())


def test_without_unfreezing_the_tower_moves_at_once(tmp_path):
    """The negative control: what holds the weights above is the option."""
    states = trained(tmp_path / "free", None)
    assert all(moved(states, "a", sorted(states)[1]))
