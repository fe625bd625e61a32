"""Runs for people: those on disk, a single one, those that are planned, and how they stand."""
