"""Run directories, which are the truth, and their mirror in MLflow."""
