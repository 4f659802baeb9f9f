"""The run folder: what one training writes, and where.

recipe.yaml            the resolved recipe
run.json               state, step, versions, plugins, times, records, resumptions; evaluators that failed
records.parquet        the ids of all records, with the part of the split that each is in
run.lock               who trains here; while a training runs
train.log              the log
metrics.jsonl          one line of metrics every `log.every` steps, and one for each evaluation
tensorboard/           the same, as TensorBoard events; other loggers keep files of their own names
views.png              the views of the first batch
unreadable.csv         unreadable values: record, modality, part, kind of fault, where, reason
nonfinite/             steps.jsonl: skipped steps (non-finite loss or gradient); the checkpoint before the last
modalities/NAME.json   the state of each modality, fitted on the train part
checkpoints/           step-NNNNNNNNN.ckpt, files or folders, the latest and the best; best.json
model/                 the exported model: model.safetensors and config.json; of a run with adapters, which are merged
                       there, adapters.safetensors; after fine-tuning its head.* too
report.html            the page of the run
evaluations/           tables, predictions, classes and groups, images
launches/              what a launcher writes: the SLURM script, and the output of its jobs
finetune-DATE-TIME/    the run folder of a fine-tuning
"""

from __future__ import annotations

import inspect
import json
import logging
import platform
import shutil
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import sensorium
from sensorium.errors import RunError
from sensorium.recipe.reading import to_yaml
from sensorium.recipe.schema import Recipe
from sensorium.registration.discovery import Extensions
from sensorium.runs.atomic import TEMPORARY, sweep, write_atomically
from sensorium.runs.lock import LOCK

log = logging.getLogger("sensorium")
PACKAGES = (
    "torch",
    "torchvision",
    "torchaudio",
    "torch_geometric",
    "open_clip_torch",
    "lightning-fabric",
    "timm",
    "transformers",
)


class Run:
    """A run folder. Its paths are attributes; `create` starts one, `open` finds one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe_file = folder / "recipe.yaml"
        self.status_file = folder / "run.json"
        self.records_file = folder / "records.parquet"
        self.lock_file = folder / LOCK
        self.log_file = folder / "train.log"
        self.metrics_file = folder / "metrics.jsonl"
        self.tensorboard = folder / "tensorboard"
        self.gallery_file = folder / "views.png"
        self.unreadable_file = folder / "unreadable.csv"
        self.nonfinite = folder / "nonfinite"
        self.modalities = folder / "modalities"
        self.checkpoints = folder / "checkpoints"
        self.model = folder / "model"
        self.evaluations = folder / "evaluations"
        self.report_file = folder / "report.html"
        self.launches = folder / "launches"

    def __repr__(self) -> str:
        status = self.status()
        steps = f", step {status['step']} of {status['steps']}" if {"step", "steps"} <= status.keys() else ""
        return f"Run({str(self.folder)!r}: {status.get('state', 'no run yet')}{steps})"

    @classmethod
    def create(
        cls, folder: str | Path | None, recipe: Recipe, extensions: Extensions, *, over: Run | None = None
    ) -> Run:
        """Start a run folder.

        Args:
            folder: where; None chooses `runs/NAME-DATE-TIME`, with a number behind it for the second in one second.
            recipe: stored in it.
            extensions: plugin names and versions are stored.
            over: a run that was stopped before its first checkpoint, in whose place the new one begins.

        A folder in which a training failed or was interrupted before it read data is used again.

        Raises:
            RunError: when the folder exists and is not empty, or cannot be created.
        """
        if over is not None:
            run = over
            run.clear()
        else:
            run = cls(_made(Path(folder) if folder else _reserved(Path("runs"), recipe.name)))
        run.keep_recipe(recipe)
        plugins = [plugin.public() for plugin in extensions.plugins]
        run.update(state="created", started=_now(), versions=_versions(), plugins=plugins)
        if session := extensions.registry.of_session():
            run.update(session=[spec.public() | {"kind": spec.kind, "file": _file_of(spec.target)} for spec in session])
        return run

    def copy(self, folder: str | Path) -> Run:
        """Copy what a training continues from into another folder, and return the run there.

        Checkpoints, metrics, log and states go with it; the exported model, tables and fine-tunings stay.

        Raises:
            RunError: when the folder exists and is not empty, or cannot be written.
        """
        copied = Run(_made(Path(folder)))
        left = shutil.ignore_patterns(self.model.name, self.evaluations.name, "finetune-*", f".*{TEMPORARY}", LOCK)
        try:
            shutil.copytree(self.folder, copied.folder, ignore=left, dirs_exist_ok=True)
        except (OSError, shutil.Error) as error:
            raise RunError(f"{self.folder} cannot be copied to {folder} ({error}): choose another folder.") from error
        copied.update(copied_from=str(self.folder))
        return copied

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Return the run in a folder.

        Raises:
            RunError: when there is none.
        """
        run = cls(Path(folder))
        if not run.recipe_file.is_file():
            raise RunError(f"{folder} is not a run folder: it has no recipe.yaml.")
        return run

    @property
    def is_begun(self) -> bool:
        """Whether a training has written here, however little."""
        return self.recipe_file.is_file() or self.status_file.is_file()

    @property
    def has_checkpoint(self) -> bool:
        """Whether a training here can go on, as far as names of files tell."""
        return any(self.checkpoints.glob("step-*.ckpt"))

    @property
    def is_finished(self) -> bool:
        """Whether the training here is finished, and its model is written."""
        return self.status().get("state") == "finished"

    def is_measured(self, table: str) -> bool:
        """Whether a table is written, and no later evaluation failed, or was stopped, at it."""
        return table not in self.status().get("failed_evaluators", {}) and (self.evaluations / f"{table}.json").exists()

    def holdings(self) -> set[Path]:
        """Return what the folder holds but for what is no training's: rests of writes, logs of launchers, the page."""
        held = self.folder.iterdir() if self.folder.is_dir() else ()
        return {
            path
            for path in held
            if path not in (self.launches, self.lock_file, self.report_file) and not path.name.endswith(TEMPORARY)
        }

    def unused(self) -> bool:
        """Return whether the folder is empty, or holds no more than what a training writes before its first step."""
        if not self.folder.is_dir():
            return False
        held = self.holdings()
        begun = {self.recipe_file, self.status_file, self.log_file, self.modalities}
        return not held or (held <= begun and self.status().get("state") in ("failed", "interrupted"))

    def clear(self) -> None:
        """Delete what a training without a checkpoint left and one that begins anew would read; the log stays."""
        for path in (self.modalities, self.nonfinite, self.checkpoints):
            shutil.rmtree(path, ignore_errors=True)
        for path in (self.status_file, self.records_file, self.unreadable_file):
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete what writers that were killed have left in the folder."""
        for path in sweep(self.folder):
            log.info("%s, the rest of a write that was killed, is deleted.", path)

    def discard_if_unused(self) -> None:
        """Remove the folder of a training that failed, or was interrupted, before it read data."""
        if self.unused() and not self.launches.exists():
            shutil.rmtree(self.folder)

    def status(self) -> dict[str, Any]:
        """Return what `run.json` says."""
        return json.loads(self.status_file.read_text(encoding="utf-8")) if self.status_file.exists() else {}

    def update(self, **facts: Any) -> None:
        """Write facts into `run.json`, with the time, and of a state since when it is."""
        since = {"since": _now()} if "state" in facts else {}
        text = json.dumps({**self.status(), **facts, **since, "updated": _now()}, indent=2)
        write_atomically(self.status_file, lambda path: path.write_text(text, encoding="utf-8"))

    def note_resumption(self, step: int, changed: Mapping[str, Any], records: str | None) -> None:
        """Add to `run.json` that the training was resumed.

        Args:
            step: number of steps done.
            changed: recipe key -> its value before and now.
            records: how the records changed, in words; None if they did not.
        """
        this = {"time": _now(), "step": step, "changed": dict(changed), "records": records}
        self.update(resumptions=[*self.status().get("resumptions", []), this])

    def keep_recipe(self, recipe: Recipe) -> None:
        """Store the resolved recipe."""
        text = to_yaml(recipe)
        write_atomically(self.recipe_file, lambda path: path.write_text(text, encoding="utf-8"))

    def keep_state(self, name: str, state: dict[str, Any]) -> None:
        """Store the fitted state of a modality."""
        text = json.dumps(state, ensure_ascii=False)
        write_atomically(self.modalities / f"{name}.json", lambda path: path.write_text(text, encoding="utf-8"))

    def kept_state(self, name: str) -> dict[str, Any] | None:
        """Return the fitted state of a modality, or None when none is stored."""
        path = self.modalities / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def log_to_file(self) -> logging.Handler:
        """Let the log go to `train.log` too; returns the handler, to be removed at the end."""
        handler = logging.FileHandler(self.log_file, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        if log.level == logging.NOTSET:
            log.setLevel(logging.INFO)
        return handler


def _made(folder: Path) -> Path:
    """Make the folder of a new run, unless it is there and unused."""
    try:
        if folder.exists() and not Run(folder).unused():
            goes_on = f"a training that was stopped goes on by `sensorium train --resume {folder}`"
            if Run(folder).is_begun and not Run(folder).is_finished and not Run(folder).has_checkpoint:
                goes_on = "the training in it has no checkpoint, and --resume auto begins it anew"
            raise RunError(
                f"The run folder {folder} exists and is not empty: choose another with --run-dir; {goes_on}."
            )
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(_not_created(folder, error)) from error
    return folder


def _not_created(folder: Path, error: OSError) -> str:
    return f"The run folder {folder} cannot be created ({error}): choose another with --run-dir."


def _reserved(parent: Path, name: str) -> Path:
    """Make a folder in `parent`, named by the time, that no other process has made in the same second."""
    while True:
        folder = dated(parent, name)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise RunError(_not_created(folder, error)) from error
        return folder


def dated(parent: Path, name: str) -> Path:
    """Return a folder in `parent` that is not there yet, named by the time."""
    first = parent / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    chosen, number = first, 1
    while chosen.exists():
        number += 1
        chosen = first.with_name(f"{first.name}-{number}")
    return chosen


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _file_of(defined: Any) -> str:
    """Return the file in which a class or a function is defined; empty where there is none."""
    try:
        return inspect.getfile(defined)
    except (OSError, TypeError):
        return ""


def _versions() -> dict[str, str]:
    found = {"sensorium": sensorium.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
