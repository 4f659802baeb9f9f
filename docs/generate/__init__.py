"""Writes the pages of `docs/` that describe code, out of that code: `python -m docs.generate`."""
