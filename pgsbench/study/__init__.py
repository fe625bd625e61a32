"""Study files: read, checked, and planned into runs."""
