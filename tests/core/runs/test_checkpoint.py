import resource
import signal

import pytest
import torch
from torch import nn

from sensorium.errors import RunError
from sensorium.runs.checkpoint import Checkpoints, restore, weights_of


@pytest.fixture
def trained():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.randn(8, 64)).square().sum().backward()
    optimizer.step()
    return model, optimizer


def test_what_is_saved_comes_back_to_the_bit(trained, tmp_path):
    model, optimizer = trained
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(3, model, optimizer, {"precision": {}})
    state = checkpoints.latest()
    assert state["step"] == 3
    other = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64))
    other_optimizer = torch.optim.AdamW(other.parameters(), lr=0.5)
    restore(state, other, other_optimizer)
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    for mine, theirs in zip(optimizer.state.values(), other_optimizer.state.values(), strict=True):
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_the_last_k_and_the_best_are_kept(trained, tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3, 4, 5):
        checkpoints.save(step, *trained, {})
        if step == 2:
            checkpoints.mark_best(2, 0.7)
    assert checkpoints.steps() == [5, 4, 2]
    assert checkpoints.best() == {"step": 2, "metric": 0.7}
    assert checkpoints.read("best")["step"] == 2
    assert checkpoints.read("4")["step"] == 4
    with pytest.raises(RunError, match="no checkpoint '9'; it has: 5, 4, 2"):
        checkpoints.read("9")


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half a file", b"\x80\x04cos\nsystem\n(S'true'\ntR."])
def test_what_cannot_be_read_is_passed_over_with_a_warning(trained, tmp_path, damage, caplog):
    checkpoints = Checkpoints(tmp_path, keep=5)
    checkpoints.save(1, *trained, {})
    checkpoints.path(2).write_bytes(damage)
    with caplog.at_level("WARNING", logger="sensorium"):
        assert checkpoints.latest()["step"] == 1
    assert "step-000000002.ckpt cannot be read" in caplog.text


def test_a_full_disk_is_one_sentence_and_loses_nothing(trained, tmp_path):
    """The system itself refuses to write more than 4 KB into a file."""
    checkpoints = Checkpoints(tmp_path, keep=5)
    checkpoints.save(1, *trained, {})
    before = checkpoints.path(1).read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(RunError, match=r"step-000000002.ckpt could not be written .* is intact") as caught:
            checkpoints.save(2, *trained, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(caught.value)
    assert checkpoints.path(1).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.ckpt"]


def test_another_architecture_is_refused(trained, tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, *trained, {})
    other = nn.Linear(3, 3)
    with pytest.raises(RunError, match="does not fit this recipe"):
        restore(checkpoints.latest(), other, torch.optim.AdamW(other.parameters()))


def test_a_weight_that_no_step_has_moved_comes_back_without_moments(tmp_path):
    model = nn.ModuleDict({"still": nn.Linear(2, 2), "moving": nn.Linear(2, 2)})
    optimizer = torch.optim.AdamW(model.parameters())
    model["moving"](torch.ones(1, 2)).sum().backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, model, optimizer, {})
    again = nn.ModuleDict({"still": nn.Linear(2, 2), "moving": nn.Linear(2, 2)})
    resumed = torch.optim.AdamW(again.parameters())
    restore(checkpoints.latest(), again, resumed)
    assert set(resumed.state) == set(again["moving"].parameters())
    for new, old in zip(again["moving"].parameters(), model["moving"].parameters(), strict=True):
        assert all(torch.equal(resumed.state[new][key], kept) for key, kept in optimizer.state[old].items())


def test_averaged_weights_are_what_evaluation_uses():
    state = {"learner": {"w": 1}, "extra": {"average": {"module.w": 2, "n_averaged": 5}}}
    assert weights_of(state) == {"w": 2}
    assert weights_of({"learner": {"w": 1}, "extra": {}}) == {"w": 1}


def test_weights_of_another_architecture_are_named(trained, tmp_path):
    model, optimizer = trained
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(3, model, optimizer, {"precision": {}})
    other = nn.Sequential(nn.Linear(32, 64), nn.LayerNorm(64), nn.Linear(64, 1))
    with pytest.raises(RunError) as error:
        restore(checkpoints.latest(), other, torch.optim.AdamW(other.parameters()))
    sentence = str(error.value)
    assert "of 6 tensors, 2 missing (2.weight, 2.bias)" in sentence
    assert "3 unexpected (1.running_mean, 1.running_var, 1.num_batches_tracked)" in sentence
    assert "1 of another shape (0.weight (64, 64) instead of (64, 32))" in sentence


def test_an_optimizer_without_any_state_comes_back(trained, tmp_path):
    model, _ = trained
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Checkpoints(tmp_path, keep=1).save(1, model, optimizer, {})
    other = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64))
    restore(Checkpoints(tmp_path, keep=1).latest(), other, torch.optim.SGD(other.parameters(), lr=0.1))
    assert torch.equal(other[0].weight, model[0].weight)
