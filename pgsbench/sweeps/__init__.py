"""Many runs: the plan of a study, the processes that work it off, the search over its space."""
