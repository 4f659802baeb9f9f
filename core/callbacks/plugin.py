"""The built-in callbacks."""

from __future__ import annotations

from sensorium.registration.hookspecs import hookimpl

sensorium_options = {
    "callbacks/early-stopping": {"metric": "knn/accuracy"},
    "callbacks/time-limit": {"hours": 1.0},
}


@hookimpl
def sensorium_register_callbacks(register):
    """Register the callbacks."""
    home = "sensorium.callbacks"
    register(
        "early-stopping",
        f"{home}.early_stopping:EarlyStopping",
        summary="finish when a metric on the val part no longer improves",
    )
    register("time-limit", f"{home}.time_limit:TimeLimit", summary="finish, with evaluation, after some hours")
