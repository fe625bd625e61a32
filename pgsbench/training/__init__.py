"""Training: one flat loop, its optimiser, its exact resume, its meter."""
