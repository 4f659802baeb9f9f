"""Optimizers and learning rate schedules, all of them registered through the hooks."""
