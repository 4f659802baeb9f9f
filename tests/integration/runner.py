"""A training in a process of its own: `python -m tests.integration.runner JSON`; prints the digest of its weights.

JSON keys: `recipe`, and any of `run_dir`, `resume`, `kill_at` (SIGKILL to itself before that step), `term_at`,
`interrupt_at` (SIGINT, `interrupts` times), `stop_at` (SIGSTOP), `on_rank` (if one alone receives them), `kill_writing`
(SIGKILL when the files of so many sharded checkpoints are written, before the last is moved into place), and what
`toys.vectors` takes: `missing`, `endless`. With `evaluate`, a run folder, that run is evaluated instead.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import signal
import sys

import torch
import torch.distributed as dist
from torch.distributed.checkpoint import HuggingFaceStorageWriter

import sensorium
from sensorium.errors import SensoriumError
from sensorium.models.model import Model
from sensorium.training import loop
from tests import toys


def digest(learner: torch.nn.Module) -> str:
    """A name for the exact bits of every weight and buffer."""
    found = hashlib.sha256()
    for name, tensor in sorted(learner.state_dict().items()):
        found.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def tell_group() -> None:
    """Say whether the process leaves while it still belongs to a group."""
    print("still in a group" if dist.is_initialized() else "in no group", flush=True)


def trained(asked: dict) -> Model:
    """Return the model of a training that nothing stops."""
    return sensorium.fit(
        asked.get("recipe"),
        source=toys.vectors(missing=asked.get("missing", 0.0), endless=asked.get("endless", ())),
        run_dir=asked.get("run_dir"),
        resume=asked.get("resume"),
        extensions=toys.extensions(),
    )


def main(asked: dict) -> None:
    atexit.register(tell_group)  # handlers run last to first
    if "evaluate" in asked:
        sensorium.evaluate(asked["evaluate"], source=toys.vectors(), extensions=toys.extensions(), device="cpu")
        return
    take_step = loop.take_step

    def interrupted(t, step, parts):
        if asked.get("on_rank") not in (None, t.fabric.global_rank):
            return take_step(t, step, parts)
        if step == asked.get("stop_at"):
            os.kill(os.getpid(), signal.SIGSTOP)
        if step == asked.get("kill_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        if step == asked.get("term_at"):
            os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(asked.get("interrupts", 1) if step == asked.get("interrupt_at") else 0):
            os.kill(os.getpid(), signal.SIGINT)
        return take_step(t, step, parts)

    write_data, written = HuggingFaceStorageWriter.write_data, []

    def write_and_die(*args):
        found = write_data(*args)
        written.append(args)
        if len(written) == asked.get("kill_writing"):
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    loop.take_step, HuggingFaceStorageWriter.write_data = interrupted, write_and_die
    torch.set_num_threads(1)
    try:
        model = trained(asked)
    except SensoriumError as error:
        print(error, file=sys.stderr)
        sys.exit(error.code)
    if int(os.environ.get("LOCAL_RANK", 0)) == 0 and asked["recipe"]["train"].get("strategy") != "fsdp":
        print("digest", digest(model.learner))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
