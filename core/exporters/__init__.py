"""How what a run learned leaves it as files that others read."""
