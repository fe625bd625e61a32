"""Engines: the processes that work off a plan, the search over a space, and what a run will cost."""
