"""The sources of graphs."""
