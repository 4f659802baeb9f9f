"""MLflow."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sensorium.contracts import Logger
from sensorium.recipe.merging import leaves

PARAMS = 100
"""The most parameters of one request."""
SQLITE = "sqlite:///"
STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class MLflow(Logger):
    """Logs to a run of MLflow: metrics, the keys of the recipe as parameters, result tables and images as artifacts.

    A resumed training continues its run. Names have what MLflow allows: "A->B" becomes "A to B", and " ↓" is left out.
    Artifacts of an experiment that it makes in a SQLite database lie beside that file, in `mlruns/EXPERIMENT`.

    Args:
        experiment: its name; made if there is none.
        tracking_uri: of the server or database, such as http://host:5000 or sqlite:///mlflow.db; None: the variable
            MLFLOW_TRACKING_URI, else what MLflow takes where nothing is set.
        tags: of the run, by name.
    """

    def __init__(
        self, experiment: str = "sensorium", tracking_uri: str | None = None, tags: dict[str, str] | None = None
    ) -> None:
        self.experiment, self.tracking_uri, self.tags = experiment, tracking_uri, dict(tags or {})

    def start(self, folder, recipe, step):
        """Begin a run, or continue the one whose id the run folder has."""
        from mlflow import MlflowClient
        from mlflow.entities import Param

        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it tells how a new database is made
        self._client = MlflowClient(tracking_uri=self.tracking_uri)
        kept = folder / "mlflow.id"
        if step and kept.is_file():
            self._id = kept.read_text(encoding="utf-8").strip()
            self._client.update_run(self._id, status="RUNNING")
            return
        tags = {"sensorium.run": str(folder), **self.tags}
        self._id = self._client.create_run(self._experiment(), run_name=folder.name, tags=tags).info.run_id
        kept.write_text(self._id, encoding="utf-8")
        params = [Param(_allowed(key), str(value)) for key, value in leaves(recipe)]
        for first in range(0, len(params), PARAMS):
            self._client.log_batch(self._id, params=params[first : first + PARAMS])

    def _experiment(self) -> Any:
        found = self._client.get_experiment_by_name(self.experiment)
        if found is not None:
            return found.experiment_id
        return self._client.create_experiment(self.experiment, artifact_location=self._artifacts())

    def _artifacts(self) -> str | None:
        """Return where artifacts of a new experiment lie: beside a SQLite file, else (None) where the server has them.

        MLflow itself would put those of a SQLite file into the working directory.
        """
        address = self._client.tracking_uri.partition("?")[0]
        file = Path(unquote(address.removeprefix(SQLITE)))
        if not address.startswith(SQLITE) or not file.name:
            return None
        return (file.absolute().parent / "mlruns" / re.sub(r"[^\w\-. ]", "_", self.experiment)).as_uri()

    def log(self, step, metrics):
        """Log metrics."""
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        self._client.log_batch(
            self._id, metrics=[Metric(_allowed(name), value, now, step) for name, value in metrics.items()]
        )

    def log_file(self, path):
        """Keep a file as an artifact."""
        self._client.log_artifact(self._id, str(path))

    def close(self, ending):
        """End the run."""
        self._client.set_terminated(self._id, STATUS[ending])


def _allowed(name: str) -> str:
    """Return a name with what MLflow allows in names."""
    return re.sub(r"[^\w\-. :/]", "_", name.removesuffix(" ↓").replace("->", " to "), flags=re.ASCII)
