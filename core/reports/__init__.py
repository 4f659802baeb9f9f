"""One page of a run, or of several: curves, tables, embeddings and examples in one HTML file that loads nothing."""
