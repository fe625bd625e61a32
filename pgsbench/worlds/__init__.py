"""Worlds: each writes training shards and evaluation sets, which are read as any other data."""
