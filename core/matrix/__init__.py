"""The matrix: every objective on every modality it is compatible with, trained briefly and evaluated."""
