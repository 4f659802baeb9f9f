"""Checkpoints of towers that share an encoder: whole, the same under DDP and FSDP, and read by one process."""

import torch
from torch.distributed.device_mesh import init_device_mesh

from sensorium.runs.checkpoint import Checkpoints
from sensorium.training.fabric import shard
from tests.distributed.ranks import on_ranks
from tests.distributed.test_sharded import LEAST, ROWS, learner_of, views_of

NAME = "shared-align"


def stepped(learner, optimizer, step, rows):
    learner(views_of(NAME, step, rows)).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def saved(rank, world, folder):
    learner = learner_of(NAME)
    shard(learner, init_device_mesh("cpu", (world,), mesh_dim_names=("data_parallel",)), LEAST)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=0.01)
    stepped(learner, optimizer, 0, torch.arange(0, 5) if rank == 0 else torch.arange(5, ROWS))
    Checkpoints(folder, 2).save(1, learner, optimizer, {})
    again = learner_of(NAME)
    for parameter in again.parameters():
        parameter.data.zero_()
    shard(again, init_device_mesh("cpu", (world,), mesh_dim_names=("data_parallel",)), LEAST)
    steps = torch.optim.AdamW(again.parameters(), lr=0.01)
    Checkpoints(folder, 2).read("last").restore(again, steps)
    same = all(
        torch.equal(p.full_tensor(), q.full_tensor())
        for p, q in zip(learner.parameters(), again.parameters(), strict=True)
    )
    return same, len(steps.state) == len(optimizer.state)


def test_a_sharded_checkpoint_is_read_on_ranks_and_by_one_process(tmp_path):
    assert on_ranks(2, saved, tmp_path, tmp_path / "checkpoints") == [(True, True)] * 2
    learner, checkpoint = learner_of(NAME), Checkpoints(tmp_path / "checkpoints", 2).read("last")
    assert {name.split(".")[1] for name in checkpoint.learner() if name.startswith("encoders.")} == {"a", "c"}
    optimizer = torch.optim.AdamW(learner.parameters(), lr=0.01)
    checkpoint.restore(learner, optimizer)
    assert len(optimizer.state) == len(list(learner.parameters()))
    assert learner.encoder("b") is learner.encoder("a")
    assert learner.objective.project["b"] is learner.objective.project["a"]
    torch.testing.assert_close(
        learner.objective.project["b"].weight, checkpoint.learner()["objective.project.a.weight"]
    )
