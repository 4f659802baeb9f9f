"""The view generators of graphs, of molecules too."""
