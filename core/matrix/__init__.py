"""The matrix: every objective on every modality that can serve it, trained for a small budget and measured."""
