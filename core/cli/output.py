"""What commands share in speaking to a person."""

from __future__ import annotations

import logging
import sys


def show_log() -> None:
    """Send the log to standard error: information from rank 0, warnings from every rank."""
    from sensorium.distributed import launching_rank

    logger = logging.getLogger("sensorium")
    logger.setLevel(logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.INFO if launching_rank() == 0 else logging.WARNING)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
