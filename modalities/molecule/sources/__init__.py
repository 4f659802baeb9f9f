"""Where molecules come from: lines, columns and blocks of files."""
