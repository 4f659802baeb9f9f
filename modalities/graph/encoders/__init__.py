"""The encoders of graphs, of molecules too."""
