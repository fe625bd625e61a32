"""Checkpoints measured on one suite: their scores, side by side, and how sure the differences are."""
