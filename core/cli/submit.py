"""`sensorium submit`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from sensorium.errors import RunError


def submit(
    recipe: Annotated[str, typer.Argument(help="The name of a shipped recipe (see `sensorium recipes`) or a file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe: key.sub=value, any number of them.")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="The run folder, which all nodes must see. Default: runs/NAME-DATE-TIME.")
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Number of nodes.")] = 1,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs of each node, with a process on each; 0 for none.")] = 1,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes of each node. Default: one on each GPU, or one.")
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            help="Time limit of one start, as SLURM writes it: minutes, hours:minutes:seconds or days-hours:minutes."
        ),
    ] = None,
    partition: Annotated[str | None, typer.Option(help="The partition.")] = None,
    account: Annotated[str | None, typer.Option(help="The account that is charged.")] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="Cores of each process.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory of each node, such as 64G.")] = None,
    warning: Annotated[
        int, typer.Option(min=1, help="Seconds before the time limit at which a training writes its last checkpoint.")
    ] = 120,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Another option of sbatch: key=value, or key. May be repeated.")
    ] = None,
    setup: Annotated[
        list[str] | None, typer.Option(help="A line of shell before the training, such as 'module load cuda'.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the script to this file instead of printing it.")] = None,
    go: Annotated[bool, typer.Option("--go", help="Send the script to SLURM.")] = False,
) -> None:
    """Write a SLURM script that trains as a recipe says, over any number of starts of the job.

    Before the time limit, and when `scancel --signal=USR1` asks for it, the training writes a checkpoint and the job is
    queued again; the next start continues it. The output of the job is in the run folder, in launches/.
    """
    from sensorium.cli.sbatch import Job, check_memory, check_name, check_time, directive, sbatch_script
    from sensorium.recipe.reading import read_recipe
    from sensorium.registration.discovery import load_extensions
    from sensorium.runs.atomic import write_text
    from sensorium.runs.run import Run, dated

    name = read_recipe(recipe, load_extensions().registry, overrides or []).name
    run = Run(run_dir if run_dir is not None else dated(Path("runs"), name))
    named = {"partition": partition, "account": account, "cpus-per-task": cpus, "mem": memory}
    asked = {key: str(value) for key, value in named.items() if value is not None}
    check_time(time, warning)
    check_memory(memory)
    check_name("partition", partition)
    check_name("account", account)
    check_name("run-dir", str(run.folder))
    job = Job(nodes, gpus, processes, time, warning, asked | dict(map(directive, set_ or [])), setup or [])
    script = sbatch_script(recipe, overrides or [], run, name, job, Path.cwd())
    if not (out or go):
        typer.echo(script, nl=False)
        return
    file = out or run.launches / "submit.sh"
    write_text(file, script)
    run.launches.mkdir(parents=True, exist_ok=True)
    typer.echo(f"The script is {file}." + ("" if go else f" Send it by `sbatch {file}`."))
    if go:
        typer.echo(f"{_send(file)} Its output is in {run.launches}, and the run will be in {run.folder}.")


def _send(script: Path) -> str:
    """Return what SLURM says of a script that it accepts."""
    if shutil.which("sbatch") is None:
        raise RunError(f"SLURM is not on this machine (there is no sbatch): send {script} from one that has it.")
    done = subprocess.run(["sbatch", str(script)], capture_output=True, text=True)
    if done.returncode:
        raise RunError(f"SLURM refuses {script}: {' '.join((done.stderr or done.stdout).split())}")
    return f"{' '.join(done.stdout.split())}."
