"""The SQLite file and its locks."""
