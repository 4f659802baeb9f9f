"""TensorBoard."""

from __future__ import annotations

import time

from sensorium.contracts import Logger


class TensorBoard(Logger):
    """Writes events to `tensorboard/` in the run folder: `tensorboard --logdir runs` shows all runs."""

    def start(self, folder, recipe, step):
        """Open the writer; events of later steps, from before a resume, are hidden."""
        from torch.utils.tensorboard import SummaryWriter

        events = folder / "tensorboard"
        # Files of events are read in the order of their names, which begin with the second they were made in.
        while any(events.glob(f"events.out.tfevents.{int(time.time()):010d}.*")):
            time.sleep(0.05)
        self._writer = SummaryWriter(str(events), purge_step=step + 1 if step else None)

    def log(self, step, metrics):
        """Write scalars."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self, ending):
        """Close the writer."""
        self._writer.close()
