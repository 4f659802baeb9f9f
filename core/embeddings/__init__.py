"""Embeddings of all records of a source as a file: written as a stream, read in batches."""
