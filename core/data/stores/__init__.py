"""Stores of other libraries as sources: Parquet and Arrow files, Hugging Face datasets, Lance, tars of WebDataset."""
