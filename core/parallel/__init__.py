"""Several processes: collective operations."""
