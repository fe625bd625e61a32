"""Classes that are named in files: found by name, and built from values."""
