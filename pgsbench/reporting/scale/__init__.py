"""A study at several budgets: how errors fall, and which arm pays at which scale."""
