"""Indexes of records in LanceDB: vectors with ids, labels, captions, paths and previews, searched under filters."""
