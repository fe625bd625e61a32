"""Data: the reader of training shards, evaluation sets on disk, and the generators of built-in sets."""
