"""The built-in callbacks."""
