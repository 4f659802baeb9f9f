import resource
import signal
from itertools import product
from threading import Event

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint import HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict import get_state_dict

from sensorium.errors import RunError
from sensorium.runs.checkpoint import Checkpoints


@pytest.fixture(params=["file", "sharded"])
def sharded(request):
    return request.param == "sharded"


@pytest.fixture
def trained():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.randn(8, 64)).square().sum().backward()
    optimizer.step()
    return model, optimizer


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_is_saved_comes_back_to_the_bit(trained, sharded, asynchronous, tmp_path):
    model, optimizer = trained
    checkpoints = Checkpoints(tmp_path, 2, sharded, asynchronous)
    extra = {
        "precision": {"scale": 2.0**16, "worst": float("inf")},
        "callbacks": {"states": {"mine": {"seen": (1, [2.5, None]), 3: torch.arange(3)}}, "finish": ("a", "b")},
    }
    checkpoints.save(3, model, optimizer, extra)
    checkpoint = Checkpoints(tmp_path, 2).latest()
    assert checkpoint.step == 3
    assert checkpoint.extra("precision") == extra["precision"]
    assert checkpoint.extra("nothing", 5) == 5
    kept = checkpoint.extra("callbacks")
    assert torch.equal(kept["states"]["mine"].pop(3), torch.arange(3))
    assert kept == {"states": {"mine": {"seen": (1, [2.5, None])}}, "finish": ("a", "b")}
    other = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64))
    other_optimizer = torch.optim.AdamW(other.parameters(), lr=0.5)
    checkpoint.restore(other, other_optimizer)
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    for mine, theirs in zip(optimizer.state.values(), other_optimizer.state.values(), strict=True):
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_the_last_k_and_the_best_are_kept(trained, sharded, tmp_path):
    checkpoints = Checkpoints(tmp_path, 2, sharded)
    for step in (1, 2, 3, 4, 5):
        checkpoints.begin(step, *trained, {}, best=0.7 if step == 2 else None)
        assert step < 2 or checkpoints.best()["step"] == 2
        checkpoints.finish()
    assert checkpoints.steps() == [5, 4, 2]
    assert checkpoints.best() == {"step": 2, "metric": 0.7}
    assert checkpoints.read("best").step == 2
    assert checkpoints.read("4").step == 4
    with pytest.raises(RunError, match="no checkpoint '9'; it has: 5, 4, 2"):
        checkpoints.read("9")
    assert not list(tmp_path.glob(".*")), "nothing is left of those that were deleted"


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half a file", b"\x80\x04cos\nsystem\n(S'true'\ntR."])
def test_what_cannot_be_read_is_passed_over_with_a_warning(trained, tmp_path, damage, caplog):
    checkpoints = Checkpoints(tmp_path, keep=5)
    checkpoints.save(1, *trained, {})
    checkpoints.path(2).write_bytes(damage)
    with caplog.at_level("WARNING", logger="sensorium"):
        assert checkpoints.latest().step == 1
    assert "step-000000002.ckpt cannot be read" in caplog.text


def _flip(file):
    """Change one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES = {
    "missing": lambda file: file.unlink(),
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "a bit": _flip,
    "nothing": lambda file: file.write_bytes(b""),
}


DAMAGED = ["shard-00001-model-00001*", "shard-00001-model-00002*", "checkpoint.json", "file"]


@pytest.mark.parametrize(
    ("named", "damage"), [case for case in product(DAMAGED, DAMAGES) if case != ("file", "missing")]
)
def test_what_is_damaged_is_passed_over_with_a_warning(trained, tmp_path, named, damage, caplog):
    checkpoints = Checkpoints(tmp_path, 5, sharded=named != "file")
    for step in (1, 2):
        checkpoints.save(step, *trained, {})
    (file,) = [checkpoints.path(2)] if named == "file" else checkpoints.path(2).glob(named)
    DAMAGES[damage](file)
    with caplog.at_level("WARNING", logger="sensorium"):
        assert checkpoints.latest().step == 1
    assert "step-000000002.ckpt cannot be read (" in caplog.text
    assert ": the checkpoint before it is used." in caplog.text
    with pytest.raises(RunError, match=r"step-000000002\.ckpt cannot be read \(.*\): name another checkpoint"):
        checkpoints.read("2")


def test_ranks_share_the_comparison_of_checksums(trained, tmp_path):
    checkpoints = Checkpoints(tmp_path, 5, sharded=True)
    checkpoints.save(1, *trained, {})
    _flip(sorted(checkpoints.path(1).glob("*.safetensors"))[1])
    found = [checkpoints.latest(checked=False).damage(rank, 3) for rank in range(3)]
    assert found == [None, "the checksum of its file shard-00001-model-00002-of-00002.safetensors is another", None]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_full_disk_is_one_sentence_and_loses_nothing(trained, sharded, asynchronous, tmp_path):
    """The system itself refuses to write more than 4 KB into a file."""
    checkpoints = Checkpoints(tmp_path, 5, sharded, asynchronous)
    checkpoints.save(1, *trained, {})
    before = _content(tmp_path)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(RunError, match=r"step-000000002.ckpt could not be written .* is intact") as caught:
            checkpoints.save(2, *trained, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(caught.value)
    assert _content(tmp_path) == before
    checkpoints.save(2, *trained, {})
    assert checkpoints.latest().step == 2


def _content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_nobody_may_write_is_one_sentence(trained, sharded, tmp_path):
    (tmp_path / "checkpoints").write_text("a file in the place of the folder")
    with pytest.raises(RunError, match=r"step-000000001\.ckpt could not be written") as caught:
        Checkpoints(tmp_path / "checkpoints", 5, sharded).save(1, *trained, {})
    assert "\n" not in str(caught.value)


def test_training_goes_on_while_one_is_written(trained, sharded, tmp_path, monkeypatch):
    """What is written is what was there when it began; the folder has no checkpoint until it is whole."""
    model, optimizer = trained
    checkpoints, may_write, kept = (
        Checkpoints(tmp_path, 2, sharded, asynchronous=True),
        Event(),
        model[0].weight.clone(),
    )
    for owner, name in ((torch, "save"), (HuggingFaceStorageWriter, "write_data")):
        write = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args, write=write: (may_write.wait(20), write(*args))[1])
    checkpoints.begin(1, model, optimizer, {})
    assert checkpoints.is_writing
    assert checkpoints.pending == 1
    assert checkpoints.steps() == []
    with torch.no_grad():
        model[0].weight.zero_()
    may_write.set()
    checkpoints.finish()
    assert not checkpoints.is_writing
    assert checkpoints.pending is None
    assert torch.equal(checkpoints.latest().learner()["0.weight"], kept)


def test_either_format_replaces_the_other_and_is_read_beside_it(trained, tmp_path):
    for step, sharded in ((1, True), (2, False), (1, False), (2, True)):
        Checkpoints(tmp_path, 5, sharded).save(step, *trained, {})
        assert Checkpoints(tmp_path, 5).read(str(step)).step == step
        assert Checkpoints(tmp_path, 5).path(step).is_dir() == sharded
    weights = [Checkpoints(tmp_path, 5).read(step).weights() for step in "12"]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_a_file_of_before_is_read(trained, tmp_path):
    """As it was written before there were others: a mapping in one file of torch."""
    model, optimizer = trained
    weights, moments = get_state_dict(model, optimizer)
    torch.save({"step": 4, "learner": weights, "optimizer": moments, "extra": {}}, tmp_path / "step-000000004.ckpt")
    other = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64))
    Checkpoints(tmp_path, 2).latest().restore(other, torch.optim.AdamW(other.parameters()))
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_what_cannot_be_kept_is_named(trained, tmp_path):
    with pytest.raises(RunError, match=r"cannot keep extra/callbacks/it \(object\)"):
        Checkpoints(tmp_path, 2, sharded=True).save(1, *trained, {"callbacks": {"it": object()}})


def test_another_architecture_is_refused(trained, sharded, tmp_path):
    checkpoints = Checkpoints(tmp_path, 1, sharded)
    checkpoints.save(1, *trained, {})
    other = nn.Linear(3, 3)
    with pytest.raises(RunError, match="does not fit this recipe"):
        checkpoints.latest().restore(other, torch.optim.AdamW(other.parameters()))


def test_a_weight_that_no_step_has_moved_comes_back_without_moments(sharded, tmp_path):
    model = nn.ModuleDict({"still": nn.Linear(2, 2), "moving": nn.Linear(2, 2)})
    optimizer = torch.optim.AdamW(model.parameters())
    model["moving"](torch.ones(1, 2)).sum().backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    checkpoints = Checkpoints(tmp_path, 1, sharded)
    checkpoints.save(1, model, optimizer, {})
    again = nn.ModuleDict({"still": nn.Linear(2, 2), "moving": nn.Linear(2, 2)})
    resumed = torch.optim.AdamW(again.parameters())
    checkpoints.latest().restore(again, resumed)
    assert set(resumed.state) == set(again["moving"].parameters())
    for new, old in zip(again["moving"].parameters(), model["moving"].parameters(), strict=True):
        assert all(torch.equal(resumed.state[new][key], kept) for key, kept in optimizer.state[old].items())


def test_averaged_weights_are_what_evaluation_uses(trained, sharded, tmp_path):
    checkpoints, (model, optimizer) = Checkpoints(tmp_path, 2, sharded), trained
    average = {"module.0.weight": torch.ones(2), "n_averaged": torch.tensor(5)}
    for step, extra in ((1, {"average": average}), (2, {})):
        checkpoints.save(step, model, optimizer, extra)
    assert checkpoints.read("1").weights().keys() == {"0.weight"}
    assert torch.equal(checkpoints.read("1").weights()["0.weight"], torch.ones(2))
    assert torch.equal(checkpoints.read("2").weights()["0.weight"], model[0].weight)


def test_weights_of_another_architecture_are_named(trained, sharded, tmp_path):
    model, optimizer = trained
    checkpoints = Checkpoints(tmp_path, 2, sharded)
    checkpoints.save(3, model, optimizer, {"precision": {}})
    other = nn.Sequential(nn.Linear(32, 64), nn.LayerNorm(64), nn.Linear(64, 1))
    with pytest.raises(RunError) as error:
        checkpoints.latest().restore(other, torch.optim.AdamW(other.parameters()))
    sentence = str(error.value)
    assert "of 6 tensors, 2 missing (2.weight, 2.bias)" in sentence
    assert "3 unexpected (1.running_mean, 1.running_var, 1.num_batches_tracked)" in sentence
    assert "1 of another shape (0.weight (64, 64) instead of (64, 32))" in sentence


def test_an_optimizer_without_any_state_comes_back(trained, sharded, tmp_path):
    model, _ = trained
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Checkpoints(tmp_path, 1, sharded).save(1, model, optimizer, {})
    other = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64))
    Checkpoints(tmp_path, keep=1).latest().restore(other, torch.optim.SGD(other.parameters(), lr=0.1))
    assert torch.equal(other[0].weight, model[0].weight)
