"""Numbers only: intervals and tests over test items and seeds. Knows no study and draws nothing."""
