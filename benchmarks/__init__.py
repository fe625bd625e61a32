"""Scripts that measure speed beside other code, and whether published numbers are met; see README.md."""
