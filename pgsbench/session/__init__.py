"""A study at work: opened, planned, run, compared, left to others. Command line and Python call the same."""
