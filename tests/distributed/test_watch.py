"""A rank that is killed, stopped, or stuck ends the others, in stated time, with a sentence that names it."""

import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from sensorium.parallel import collectives, host_group, watch as watch_of_ranks
from sensorium.parallel.watch import Watch, begin_step

from . import ranks  # noqa: F401 - the server that ranks are forked from

WORLD, TIMEOUT = 3, 2.0


def rank_of_training(rank, port, how, whom, folder):
    """Steps of nothing, at the fourth of which one rank is lost; what the others say is in a file of each."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    watch_of_ranks.SIGN, watch_of_ranks.ANSWER = 0.25, 0.5
    said = Path(folder) / f"rank-{rank}"

    def end(sentence):
        said.write_text(sentence)
        os._exit(6)

    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=WORLD)
    watch = Watch(600.0 if how in ("killed", "failed", "left") else TIMEOUT, end)
    try:
        for step in range(1, 30):
            if step == 4 and rank == whom:
                lose(how, watch)
            begin_step(step)
            dist.all_reduce(torch.ones(2))
            collectives.any_rank(False)
        watch.leave()
        host_group.leave()
    except RuntimeError as error:
        end(watch.explain(error) or f"unexplained: {error}")


def lose(how, watch):
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "stuck":
        time.sleep(100)
    if how == "failed":
        watch.leave("The disk is full.")
        os._exit(1)


@pytest.mark.parametrize(
    ("how", "whom", "what"),
    [
        ("killed", 1, "was lost: it was killed, or its node failed"),
        pytest.param("killed", 0, "was lost: it was killed, or its node failed", marks=pytest.mark.slow),
        ("failed", 2, "stopped: The disk is full"),
        pytest.param(
            "stopped", 1, "has given no sign of life for 2 s (train.timeout): it hangs", marks=pytest.mark.slow
        ),
        ("stopped", 0, "has given no sign of life for 2 s (train.timeout): it hangs"),
        ("stuck", 1, "has not begun step 4 for 2 s (train.timeout): it hangs"),
        pytest.param("none", 9, "", marks=pytest.mark.slow),
    ],
)
def test_a_lost_rank_is_named_by_the_others(how, whom, what, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    processes = [
        context.Process(target=rank_of_training, args=(rank, port, how, whom, str(tmp_path))) for rank in range(WORLD)
    ]
    for process in processes:
        process.start()
    begun = time.monotonic()
    for process in processes:
        process.join(60)
    took = time.monotonic() - begun
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    said = {int(path.name[-1]): path.read_text() for path in tmp_path.glob("rank-*")}
    print(f"{how} {whom}: {took:.1f} s, codes {codes}, {said}")
    if how == "none":
        assert codes == [0, 0, 0]
        assert not said
        return
    assert codes[whom] not in (0, None), "nothing is left of it"
    assert said
    for rank, sentence in said.items():
        assert rank != whom
        assert sentence.startswith(f"Rank {whom} (process {processes[whom].pid} on ")
        assert what in sentence
