"""Data: sources of records, which part each belongs to, the order of an epoch, and the loader that feeds a run."""
