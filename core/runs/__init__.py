"""What one training writes: the run folder, checkpoints, whole files or none."""
