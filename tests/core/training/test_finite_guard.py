"""A skipped step leaves the learner as it was, and no step copies a queue or a table."""

import pytest
import torch
from lightning_fabric import Fabric
from torch.utils._python_dispatch import TorchDispatchMode

from sensorium.errors import PluginError
from sensorium.plugins.crossmodal.fastclip import FastCLIP
from sensorium.training.finite_guard import SMALL, Guard
from tests.plugins.crossmodal.test_clip import known, learner as pair_learner
from tests.plugins.joint_embedding import learner_of, views_of

LARGE = 2 * SMALL
QUEUES = {name: {"queue": LARGE // 4 // 128, "dim": 128} for name in ("nnclr", "moco")}


def made(name):
    if name == "fastclip":
        return pair_learner(FastCLIP(slots=LARGE // 4 // 2), ("a", "b"))
    return learner_of(name, **QUEUES.get(name, {}))


def views(name, seed=0):
    return known() if name == "fastclip" else views_of(name, seed=seed)


def guard_of(learner, folder):
    optimizer = torch.optim.SGD([p for p in learner.parameters() if p.requires_grad], lr=0.1)
    return Guard(Fabric(accelerator="cpu"), learner, optimizer, folder, 3, 0), optimizer


class LargeCopies(TorchDispatchMode):
    """Notes the operations that copy a tensor as large as the queue, or make one out of it by writing some rows."""

    KINDS = (
        "clone",
        "copy_",
        "_foreach_copy_",
        "_to_copy",
        "cat",
        "stack",
        "index_copy",
        "index_put",
        "scatter",
        "where",
    )

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        written = args[0] if name == "_foreach_copy_" else [made]
        if name in self.KINDS and any(tensor.nbytes >= LARGE for tensor in written):
            self.found.append(name)
        return made


@pytest.mark.parametrize("name", ["nnclr", "moco", "fastclip"])
def test_no_step_copies_a_queue_or_a_table(name, tmp_path):
    learner = made(name)
    guard, optimizer = guard_of(learner, tmp_path)
    assert any(buffer.nbytes >= LARGE for buffer in learner.buffers())
    with LargeCopies() as copies:
        for number in range(2):
            guard.save_buffers()
            learner(views(name, number)).loss.backward()
            optimizer.step()
            learner.objective.after_step(number / 2)
    assert not copies.found
    with LargeCopies() as copies:  # what the guard did to every buffer
        [buffer.clone() for buffer in learner.buffers()]
    assert copies.found


@pytest.mark.parametrize("name", ["nnclr", "moco", "fastclip", "dino", "byol"])
def test_a_skipped_step_leaves_every_buffer_as_it_was(name, tmp_path):
    learner = made(name)
    guard, _ = guard_of(learner, tmp_path)
    learner(views(name)).loss.backward()
    learner.objective.after_step(0.1)
    before = {key: buffer.clone() for key, buffer in learner.named_buffers()}
    guard.save_buffers()
    loss = learner(views(name, seed=1)).loss
    assert any(not torch.equal(buffer, before[key]) for key, buffer in learner.named_buffers()), "the step changed some"
    assert not guard.is_finite(loss * torch.nan, torch.tensor(1.0))
    guard.skip(3, loss * torch.nan, torch.tensor(1.0), ["0"])
    for key, buffer in learner.named_buffers():
        assert torch.equal(buffer, before[key]), key
    learner(views(name, seed=2))
    learner.objective.after_step(0.2)  # the rows of the skipped step are in no queue
    if name in ("nnclr", "moco"):
        assert int(learner.objective.queue.pushed) == 2 * 12


def test_a_large_buffer_that_is_changed_in_place_in_the_forward_pass_is_named(tmp_path):
    learner = made("nnclr")
    guard, _ = guard_of(learner, tmp_path)
    guard.save_buffers()
    learner.objective.queue.rows[0] += 1
    with pytest.raises(PluginError, match="FeatureQueue changed its large buffer 'rows' in place"):
        guard.skip(0, torch.tensor(torch.nan), torch.tensor(1.0), [])


@pytest.mark.parametrize(("loss", "norm"), [(1.0, torch.inf), (torch.nan, 1.0), (1.0, 1.0)])
def test_loss_and_norm_are_read_together(loss, norm, tmp_path):
    guard, _ = guard_of(made("nnclr"), tmp_path)
    assert guard.is_finite(torch.tensor(loss), torch.tensor(norm, dtype=torch.float64)) == (loss == norm == 1.0)
