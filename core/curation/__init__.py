"""Curation: near-duplicates, outliers, clusters and samples that cover all records, by distances between them."""
