"""A local page that searches the records of a run: by words, by uploaded files, by records themselves."""
