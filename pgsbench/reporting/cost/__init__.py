"""What scores cost: the Pareto front, and the cheaper point that is nearly as good."""
