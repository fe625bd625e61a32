"""What may be said of a study: its answer, how sure it is, the order of its arms, and what limits it."""
