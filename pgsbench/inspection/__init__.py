"""Masks looked at before any training: previews, diagnosis, costs, and what the published code does."""
