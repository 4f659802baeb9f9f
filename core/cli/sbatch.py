"""The SLURM script of a training: one step of `srun` that stops before its time is up, and is queued again."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from re import fullmatch
from shlex import quote
from string import Template

from sensorium.errors import RecipeError
from sensorium.runs.run import Run

TEMPLATE = Template(
    """\
#!/bin/bash
$directives
# The folder of --output must be there before the job: mkdir -p $launches

$setup
progress() { ls $checkpoints $evaluations 2>/dev/null; }
before=$$(progress)

# The same command at every start: it begins, continues from the latest checkpoint, or finds the run finished.
# A process that is lost ends the others $wait seconds later, where they have not noticed it before.
srun --kill-on-bad-exit=0 --wait=$wait \\
    $command
code=$$?

# 138: SIGUSR1 came, and the checkpoint is written.
if [ "$$code" -eq 138 ]; then
    if [ "$$(progress)" = "$$before" ]; then
        echo "Nothing was finished within the time limit: the job is not queued again; give it more time." >&2
        exit 1
    fi
    scontrol requeue "$$SLURM_JOB_ID"
fi
exit "$$code"
"""
)
WAIT = 300
"""Seconds from the end of the first process to that of all: loggers of rank 0 may still send what they hold."""


@dataclass(frozen=True)
class Job:
    """What a training asks of SLURM.

    Args:
        nodes: their number.
        gpus: of each node; 0 for none.
        processes: of each node; None for one on each GPU, or one.
        time: the limit of one start, as SLURM writes it; None for that of the partition.
        warning: seconds before that limit at which the processes receive SIGUSR1.
        directives: further options of `sbatch`, or other values of those above; None for one without a value.
        setup: lines of shell before the training.
    """

    nodes: int = 1
    gpus: int = 1
    processes: int | None = None
    time: str | None = None
    warning: int = 120
    directives: Mapping[str, str | None] = field(default_factory=dict)
    setup: Sequence[str] = ()

    @property
    def processes_of_a_node(self) -> int:
        """Processes of each node."""
        return self.processes if self.processes is not None else max(self.gpus, 1)


def check_time(time: str | None, warning: int) -> None:
    """Refuse a time limit that SLURM does not read, or that is over before a training is warned.

    Args:
        time: the limit of one start; None for that of the partition.
        warning: seconds before it at which the processes receive SIGUSR1.

    Raises:
        RecipeError: with what it may be.
    """
    if time is None or time.upper() in ("INFINITE", "UNLIMITED"):
        return
    form = fullmatch(
        r"((?P<days>\d+)-(?P<h>\d+)(:(?P<m>\d+)(:(?P<s>\d+))?)?)"
        r"|((?P<minutes>\d+)(:(?P<seconds>\d+))?)|((?P<hours>\d+):(?P<min>\d+):(?P<sec>\d+))",
        time,
    )
    if form is None:
        raise RecipeError(
            f"--time is '{time}', which SLURM does not read: give minutes, minutes:seconds, hours:minutes:seconds, "
            "days-hours or days-hours:minutes."
        )
    its = {name: int(digits) for name, digits in form.groupdict(default="0").items()}
    if max(its[name] for name in ("m", "s", "seconds", "min", "sec")) > 59:
        raise RecipeError(f"--time is '{time}', whose minutes or seconds are above 59; write them as hours or minutes.")
    minutes = its["minutes"] + its["m"] + its["min"] + 60 * (its["h"] + its["hours"] + 24 * its["days"])
    if (limit := 60 * minutes + its["s"] + its["seconds"] + its["sec"]) and limit <= warning:
        raise RecipeError(
            f"--time is '{time}', {limit} s, and --warning {warning} s before its end: a start would be over before it "
            "trains; give more time, or a later warning."
        )


def check_memory(memory: str | None) -> None:
    """Refuse an amount of memory that SLURM does not read.

    Raises:
        RecipeError: with what it may be.
    """
    if memory is not None and fullmatch(r"\d+([KMGT]B?)?", memory.upper()) is None:
        raise RecipeError(f"--memory is '{memory}', which SLURM does not read: give a whole number and K, M, G or T.")


def check_name(option: str, name: str | None) -> None:
    """Refuse a name that no line of a script holds.

    Raises:
        RecipeError: when it is empty, or has a character that does not print.
    """
    if name is not None and not (name.strip() and name.isprintable()):
        raise RecipeError(f"--{option} is {name!r}: give a name, without line breaks and the like.")


def sbatch_script(recipe: str, overrides: Sequence[str], run: Run, name: str, job: Job, folder: Path) -> str:
    """Return the script.

    Args:
        recipe: the name of a shipped recipe, or a file.
        overrides: `key.sub=value` texts.
        run: the run folder, seen by all nodes.
        name: of the job.
        job: what it asks for.
        folder: where it runs: relative paths are from there.
    """
    launches = run.launches.absolute()
    directives: dict[str, str | None] = {
        "job-name": name,
        "nodes": str(job.nodes),
        "ntasks-per-node": str(job.processes_of_a_node),
        **({"gpus-per-node": str(job.gpus)} if job.gpus else {}),
        **({"time": job.time} if job.time else {}),
        "signal": f"USR1@{job.warning}",
        "requeue": None,
        "open-mode": "append",
        "chdir": str(folder.absolute()),
        "output": f"{launches}/%j.out",
        **job.directives,
    }
    setup = list(job.setup)
    if "cpus-per-task" in directives:  # srun does not take it from sbatch
        setup.append(f"export SRUN_CPUS_PER_TASK={directives['cpus-per-task']}")
    words = [sys.executable, "-m", "sensorium", "train", recipe, *overrides]
    words += ["--run-dir", str(run.folder.absolute()), "--resume", "auto"]
    lines = (f"#SBATCH --{key}" + ("" if value is None else f"={_value(value)}") for key, value in directives.items())
    return TEMPLATE.substitute(
        directives="\n".join(lines),
        launches=quote(str(launches)),
        checkpoints=quote(str(run.checkpoints.absolute())),
        evaluations=quote(str(run.evaluations.absolute())),
        setup="\n".join([*setup, ""]),
        wait=WAIT,
        command=" ".join(map(quote, words)),
    )


def directive(text: str) -> tuple[str, str | None]:
    """Return an option of `sbatch` that is written as `key=value` or `key`.

    Raises:
        RecipeError: when there is no key, or it has a line break.
    """
    key, equals, value = text.strip().removeprefix("--").partition("=")
    if not key or "\n" in text:
        raise RecipeError(f"--set '{text}' is not of the form key=value, such as constraint=a100.")
    return key, value if equals else None


def _value(value: str) -> str:
    """Return a value as sbatch reads it from its line: in quotes where a space would end it."""
    return f'"{value}"' if any(character.isspace() for character in value) else value
