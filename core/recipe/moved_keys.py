"""Keys that recipes of older versions have: read, moved to where they stand now, with a warning that names the place.

The recipe of an older run is resolved: it has every key of its time, most with their defaults. A null of a key that is
gone says nothing and is dropped without a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sensorium.deprecation import deprecated

Section = dict[str, Any]


def with_moved_keys(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a raw recipe, or a part of one, with the keys of older versions moved."""
    moved = dict(raw)
    for name, move in MOVES.items():
        if isinstance(section := moved.get(name), Mapping):
            moved[name] = move(dict(section))
    return moved


def _data(data: Section) -> Section:
    """Move `data.hold_out` to the split of that name, and name the order of a resolved recipe that names none."""
    held = data.pop("hold_out", None)
    if held is not None:
        _say("data.hold_out", "data.split={name: hold-out, by: ..., value: ...}")
        data["split"] = {"name": "hold-out", **held}
    if "order" not in data and data.keys() >= ONCE_IN_DATA:
        data["order"] = "randperm"
    return data


ONCE_IN_DATA = {"source", "batch", "val", "test", "split_seed", "workers", "cache", "max_bad"}
"""What a resolved recipe had under `data` when there was one order of records."""


def _optimizer(optimizer: Section) -> Section:
    """Move `min_lr_ratio` to the schedule; of a resolved recipe, drop the options that other optimizers have.

    When optimizers had one set of options, a resolved recipe had all of them, whatever its optimizer.
    """
    is_resolved = optimizer.keys() >= ONCE_OF_EVERY_OPTIMIZER.keys()
    if is_resolved:
        own = OWN_OPTIONS.get(optimizer.get("name", "adamw"), ())
        for key, default in ONCE_OF_EVERY_OPTIMIZER.items():
            if optimizer[key] == default or (key not in own and key != "min_lr_ratio"):
                del optimizer[key]
    ratio = optimizer.pop("min_lr_ratio", None)
    if ratio is None:
        return optimizer
    if not is_resolved:
        _say("optimizer.min_lr_ratio", f"optimizer.schedule={{name: cosine, min_lr_ratio: {ratio}}}")
    schedule = optimizer.get("schedule", "cosine")
    schedule = {"name": schedule} if isinstance(schedule, str) else schedule
    if isinstance(schedule, Mapping) and schedule.get("name") != "constant":
        optimizer["schedule"] = {**schedule, "min_lr_ratio": ratio}
    return optimizer


def _finetune(finetune: Section) -> Section:
    """Move the keys of `finetune.optimizer`."""
    if isinstance(optimizer := finetune.get("optimizer"), Mapping):
        finetune["optimizer"] = _optimizer(dict(optimizer))
    return finetune


def _modalities(towers: Section) -> Section:
    """Move the option `checkpoint` of some encoders to the `weights` of their tower."""
    for name, tower in towers.items():
        encoder = tower.get("encoder") if isinstance(tower, Mapping) else None
        if isinstance(encoder, Mapping) and encoder.get("name") in ONCE_WITH_CHECKPOINT and "checkpoint" in encoder:
            kept = {key: value for key, value in encoder.items() if key != "checkpoint"}
            towers[name] = {**tower, "encoder": kept}
            if (file := encoder["checkpoint"]) is not None:
                _say(f"modalities.{name}.encoder.checkpoint", f"modalities.{name}.weights={file}")
                towers[name]["weights"] = file
    return towers


ONCE_WITH_CHECKPOINT: tuple[str, ...] = ("timm", "open-clip-image", "open-clip-text")
"""Encoders that had an option for a file of weights."""
ONCE_OF_EVERY_OPTIMIZER = {"momentum": 0.9, "betas": [0.9, 0.98], "eps": 1e-6, "min_lr_ratio": 0.0}
"""Option -> its default."""
OWN_OPTIONS = {"adamw": ("betas", "eps"), "sgd": ("momentum",), "lars": ("momentum",)}
"""Optimizer -> those of them that it has."""


def _log(log: Section) -> Section:
    """Move `log.tensorboard` and `log.wandb` to the loggers of these names."""
    board, project = log.pop("tensorboard", None), log.pop("wandb", None)
    if board is not False and project is None:  # TensorBoard is the default
        return log
    loggers = dict(log.get("loggers") or {"tensorboard": {}})
    if board is False:
        _say("log.tensorboard", "log.loggers, without tensorboard")
        loggers.pop("tensorboard", None)
    if project is not None:
        _say("log.wandb", f"log.loggers={{wandb: {{project: {project}}}}}")
        loggers["wandb"] = {"project": project}
    return {**log, "loggers": loggers}


def _say(key: str, instead: str) -> None:
    deprecated(f"The recipe key '{key}'", instead, since="0.1", removal="0.3")


MOVES: dict[str, Callable[[Section], Section]] = {
    "data": _data,
    "finetune": _finetune,
    "log": _log,
    "modalities": _modalities,
    "optimizer": _optimizer,
}
"""Section of a recipe -> what moves its keys."""
