"""TensorBoard."""

from __future__ import annotations

from sensorium.contracts import Logger


class TensorBoard(Logger):
    """Writes events to `tensorboard/` in the run folder: `tensorboard --logdir runs` shows all runs."""

    def start(self, folder, recipe, step):
        """Open the writer; events of later steps, from before a resume, are hidden."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def log(self, step, metrics):
        """Write scalars."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self, ending):
        """Close the writer."""
        self._writer.close()
