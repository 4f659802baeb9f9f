"""The YAML of the page on clusters is what its systems read, and the commands in it are ours."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from sensorium.cli.train import train

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "clusters.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
KUBERNETES, SKYPILOT = BLOCKS


def options_of(command):
    """Return what `sensorium train` understands of a shell command that starts torchrun."""
    words = shlex.split(command)
    arguments = words[words.index("sensorium") + 2 :]
    app = typer.Typer()
    app.command()(train)
    return typer.main.get_command(app).make_context("train", arguments).params


def test_the_job_of_kubernetes_has_a_service_for_the_names_of_its_pods():
    service, job = yaml.safe_load_all(KUBERNETES)
    assert (service["apiVersion"], service["kind"], job["apiVersion"], job["kind"]) == (
        "v1",
        "Service",
        "batch/v1",
        "Job",
    )
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == 2
    assert pod["subdomain"] == service["metadata"]["name"]
    assert pod["terminationGracePeriodSeconds"] > 30, "torchrun alone waits 30 seconds for its processes"
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    (command,) = container["args"]
    assert command.startswith("exec torchrun "), "the shell would keep the signal for itself"
    assert f"--master-addr={job['metadata']['name']}-0.{pod['subdomain']} " in command
    assert f"--nnodes={spec['completions']} " in command
    assert f"--nproc-per-node={container['resources']['limits']['nvidia.com/gpu']} " in command
    asked = options_of(command)
    assert asked["resume"] == "auto"
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert any(asked["run_dir"].startswith(f"{mount}/") for mount in mounts), "the run folder outlives the pods"


def test_the_task_of_skypilot_keeps_its_run_in_a_bucket():
    task = yaml.safe_load(SKYPILOT)
    known = {"name", "num_nodes", "resources", "file_mounts", "setup", "run", "envs", "workdir"}
    assert task.keys() <= known
    asked = options_of(task["run"].replace("$(echo", "'").replace("head -n1)", "'"))
    assert asked["resume"] == "auto"
    assert any(asked["run_dir"].startswith(f"{mount}/") for mount in task["file_mounts"])
    assert all(mount["mode"] in ("MOUNT", "COPY", "MOUNT_CACHED") for mount in task["file_mounts"].values())


@pytest.mark.parametrize("code", [138, 143, 130, 129])
def test_exit_codes_of_stops_are_told(code):
    assert re.search(rf"\b{code}\b", PAGE)
