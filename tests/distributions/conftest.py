"""These folders are projects of their own: each runs its tests in its folder, with itself installed."""

collect_ignore_glob = ["*/tests/*"]
