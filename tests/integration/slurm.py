"""A SLURM cluster of this machine alone: two nodes, a controller, and munge, in a folder; none needs to be installed
beyond `apt-get install slurm-wlm munge`.

As a program, `python -m tests.integration.slurm FOLDER` starts one and prints what to export, until Ctrl-C.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

NODES = ("node1", "node2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
CONF = """\
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=30
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
{nodes}
PartitionName=all Nodes={names} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Return why there can be no cluster here, or nothing."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"there is no {', '.join(absent)}: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "only root can start munge and SLURM"


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Run a cluster in a folder; gives the environment that its commands need."""
    (folder / "state").mkdir(parents=True)
    port, *ports = _free_ports(1 + len(NODES))
    nodes = (
        f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={own} CPUs={os.cpu_count()} RealMemory=1000"
        for name, own in zip(NODES, ports, strict=True)
    )
    conf, key, sock = folder / "slurm.conf", folder / "munge.key", folder / "munge.socket"
    conf.write_text(CONF.format(port=port, folder=folder, nodes="\n".join(nodes), names=",".join(NODES)))
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    # jobs have no name server: both nodes are this machine
    environment = {**os.environ, "SLURM_CONF": str(conf), "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    files = {name: folder / f"{name}.log" for name in ("munged", "slurmctld", *NODES)}
    munge = [
        "munged",
        "--foreground",
        "--force",
        f"--key-file={key}",
        f"--socket={sock}",
        f"--log-file={files['munged']}",
    ]
    munge += [f"--pid-file={folder / 'munged.pid'}", f"--seed-file={folder / 'munge.seed'}"]
    running: list[subprocess.Popen[bytes]] = []

    def start(*words: str, log: Path) -> None:
        with log.open("ab") as file:
            running.append(subprocess.Popen(words, stdout=file, stderr=file, env=environment))

    try:
        start(*munge, log=files["munged"])
        _until(sock.exists)
        start("slurmctld", "-D", "-c", "-f", str(conf), log=files["slurmctld"])
        for name in NODES:
            start("slurmd", "-D", "-f", str(conf), "-N", name, log=files[name])
        _until(lambda: _idle_nodes(environment) == len(NODES))
        yield environment
    finally:
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(["scancel", "--full", "--user=root"], env=environment, timeout=30)
            _until(lambda: not jobs(environment))
        for process in reversed(running):
            process.send_signal(signal.SIGTERM)
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def jobs(environment: dict[str, str], which: str = "") -> str:
    """Return the states of jobs that are not over, one a line."""
    words = ["squeue", "--noheader", "--format=%T", *([f"--jobs={which}"] if which else [])]
    return subprocess.run(words, env=environment, capture_output=True, text=True).stdout.strip()


def _idle_nodes(environment: dict[str, str]) -> int:
    words = ["sinfo", "--noheader", "--Node", "--format=%T"]
    return subprocess.run(words, env=environment, capture_output=True, text=True).stdout.split().count("idle")


def _until(true: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "the cluster does not answer"
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


if __name__ == "__main__":
    with cluster(Path(sys.argv[1]).absolute()) as made, suppress(KeyboardInterrupt):
        print("\n".join(f"export {name}={made[name]}" for name in ("SLURM_CONF", "MASTER_ADDR")), flush=True)
        signal.pause()
