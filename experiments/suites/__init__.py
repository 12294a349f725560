"""Suites: a controller beside tuned rivals on many problems, cell by cell."""
