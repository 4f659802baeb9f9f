"""Silence what libraries say of their own steps while they write and load: what fails is an error."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("torch.onnx", "torch.export", "transformers", "sentence_transformers")


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out warnings and progress bars of other libraries."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    bars = sys.modules["transformers"].utils.logging if "transformers" in sys.modules else None
    has_bars = bars is not None and bars.is_progress_bar_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        if bars is not None:
            bars.disable_progress_bar()
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
            if bars is not None and has_bars:
                bars.enable_progress_bar()
