"""Training: setup, loop, optimizers, and what watches a run."""
