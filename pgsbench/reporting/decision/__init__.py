"""Is a mask better, worse, or as good? Decisions that hold under repeated looks, and what they will cost."""
