"""Nearest neighbors by cosine: exact in bounded memory, or approximate by an index."""
