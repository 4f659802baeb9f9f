"""`sensorium submit`: the script that it writes, and how it is sent."""

import shlex
import stat
import subprocess
import sys

import pytest

from sensorium.cli.main import main


def submit(*words):
    with pytest.raises(SystemExit) as left:
        main(["submit", "simclr", *words])
    return left.value.code


def directives(script):
    """Return the options of sbatch in a script."""
    lines = (line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH"))
    return dict(line.split("=", 1) if "=" in line else (line, None) for line in lines)


@pytest.mark.parametrize("time", ["12h", "1:2:3:4", "2-", "-5", "1.5", ""])
def test_a_time_limit_that_slurm_does_not_read_is_refused(time, capsys):
    assert submit("--time", time) == 2
    assert f"--time is '{time}', which SLURM does not read: give minutes, " in capsys.readouterr().err


@pytest.mark.parametrize("time", ["2", "1:30", "0:01:59", "0-0:2"])
def test_a_start_that_is_over_before_it_trains_is_refused(time, capsys):
    assert submit("--time", time, "--warning", "120") == 2
    assert "a start would be over before it trains" in capsys.readouterr().err


@pytest.mark.parametrize("time", ["3", "2:30", "1:00:00", "1-0", "1-12:30", "1-0:0:1", "UNLIMITED"])
def test_time_limits_as_slurm_writes_them(time, capsys):
    assert submit("--time", time) == 0
    assert f"#SBATCH --time={time}\n" in capsys.readouterr().out


def test_the_script_asks_for_what_was_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["data.batch=64", "--run-dir", "my runs/a", "--nodes", "2", "--gpus", "4", "--time", "60"]
    words += ["--partition", "gpu", "--account", "me", "--cpus", "6", "--memory", "64G", "--warning", "90"]
    words += [
        "--set",
        "constraint=a100",
        "--set",
        "exclusive",
        "--set",
        "open-mode=truncate",
        "--setup",
        "module load x",
    ]
    assert submit(*words) == 0
    script = capsys.readouterr().out
    assert directives(script) == {
        "job-name": "simclr",
        "nodes": "2",
        "ntasks-per-node": "4",
        "gpus-per-node": "4",
        "time": "60",
        "signal": "USR1@90",
        "requeue": None,
        "open-mode": "truncate",
        "chdir": str(tmp_path),
        "output": f'"{tmp_path}/my runs/a/launches/%j.out"',
        "partition": "gpu",
        "account": "me",
        "cpus-per-task": "6",
        "mem": "64G",
        "constraint": "a100",
        "exclusive": None,
    }
    assert "\nmodule load x\nexport SRUN_CPUS_PER_TASK=6\n" in script
    command = shlex.split(next(line for line in script.splitlines() if "sensorium train" in line))
    assert command == [
        *(sys.executable, "-m", "sensorium", "train", "simclr", "data.batch=64"),
        *("--run-dir", f"{tmp_path}/my runs/a", "--resume", "auto"),
    ]
    assert not (tmp_path / "my runs").exists(), "what is printed writes nothing"


@pytest.mark.parametrize("memory", ["64", "64G", "64gb", "500000M"])
def test_memory_as_slurm_writes_it(memory, capsys):
    assert submit("--memory", memory) == 0
    assert f"#SBATCH --mem={memory}\n" in capsys.readouterr().out


def test_processes_without_gpus(capsys):
    assert submit("--gpus", "0", "--processes", "3") == 0
    found = directives(capsys.readouterr().out)
    assert found["ntasks-per-node"] == "3"
    assert "gpus-per-node" not in found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.bath=64"], "did you mean 'batch'"),
        (["--set", "=x"], "--set '=x' is not of the form key=value"),
        (["--time", "99:99"], "--time is '99:99', whose minutes or seconds are above 59"),
        (["--time", "1:60:00"], "--time is '1:60:00', whose minutes or seconds are above 59"),
        (["--memory", "lots"], "--memory is 'lots', which SLURM does not read: give a whole number and K, M, G or T"),
        (["--memory", "1.5G"], "--memory is '1.5G'"),
        (["--account", "a\nb"], r"--account is 'a\nb': give a name"),
        (["--partition", ""], "--partition is '': give a name"),
    ],
)
def test_what_would_fail_after_hours_in_the_queue_fails_at_once(words, said, capsys):
    assert submit(*words) == 2
    assert said in capsys.readouterr().err


STANDS_FOR = """#!/bin/bash
# srun: runs the command once; as the process that it stands for it leaves with a code
if [ "$(basename "$0")" = srun ]; then [ -n "$NEW" ] && mkdir -p "$NEW" && touch "$NEW/step-1.ckpt"; exit "$CODE"; fi
echo "$(basename "$0") $*" >> calls
"""


@pytest.mark.parametrize(
    ("code", "is_new", "left", "calls"),
    [
        (0, True, 0, ""),
        (138, True, 138, "scontrol requeue 7\n"),
        (138, False, 1, ""),
        (143, True, 143, ""),
        (6, True, 6, ""),
    ],
    ids=["finished", "time is up", "no progress", "cancelled", "failed"],
)
def test_the_job_is_queued_again_when_its_time_is_up_and_something_was_done(
    code, is_new, left, calls, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert submit("--run-dir", "run", "--out", "job.sh") == 0
    for name in ("srun", "scontrol"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(STANDS_FOR)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    new = str(tmp_path / "run" / "checkpoints") if is_new else ""
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "SLURM_JOB_ID": "7", "CODE": str(code), "NEW": new}
    done = subprocess.run(["bash", "job.sh"], env=environment, capture_output=True, text=True)
    assert done.returncode == left
    assert ("give it more time" in done.stderr) == (code == 138 and not is_new)
    assert ((tmp_path / "calls").read_text() if (tmp_path / "calls").exists() else "") == calls


def test_a_script_is_sent_or_said_to_be_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}")
    assert submit("--run-dir", "run", "--go") == 5
    assert "SLURM is not on this machine" in capsys.readouterr().err
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\necho Submitted batch job 12\n")
    sbatch.chmod(0o755)
    assert submit("--run-dir", "run", "--go") == 0
    assert "Submitted batch job 12. Its output is in run/launches, and the run will be in run." in (
        capsys.readouterr().out
    )
    assert (tmp_path / "run" / "launches" / "submit.sh").is_file()
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n")
    assert submit("--run-dir", "run", "--go") == 5
    assert "SLURM refuses run/launches/submit.sh: sbatch: error: invalid partition" in capsys.readouterr().err
