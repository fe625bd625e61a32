"""What a search says: its best points, which parameters mattered, and where a mask pays."""
