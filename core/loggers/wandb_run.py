"""Weights & Biases."""

from __future__ import annotations

from sensorium.contracts import Logger


class WandB(Logger):
    """Logs to a run of Weights & Biases, whose configuration is the recipe. A resumed training continues its run.

    Args:
        project: its name.
        entity: user or team; None takes the default of the account.
        group: under which runs are shown together, such as the seeds of a recipe.
        offline: write into the run folder alone, for `wandb sync`.
    """

    def __init__(
        self, project: str, entity: str | None = None, group: str | None = None, offline: bool = False
    ) -> None:
        self.place = {"project": project, "entity": entity, "group": group}
        self.offline = offline

    def start(self, folder, recipe, step):
        """Begin a run, or continue the one whose id the run folder has."""
        import wandb

        kept = folder / "wandb.id"
        known = kept.read_text(encoding="utf-8").strip() if step and kept.is_file() else None
        self._run = wandb.init(
            **self.place,
            name=folder.name,
            dir=str(folder),
            config=dict(recipe),
            id=known,
            resume="allow",
            mode="offline" if self.offline else None,
        )
        kept.write_text(self._run.id, encoding="utf-8")

    def log(self, step, metrics):
        """Log metrics."""
        self._run.log(dict(metrics), step=step)

    def log_file(self, path):
        """Keep a file with the run."""
        self._run.save(str(path), base_path=str(path.parent), policy="now")

    def close(self, ending):
        """Finish the run."""
        self._run.finish(exit_code=0 if ending == "finished" else 1)
