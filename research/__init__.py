"""Scripts that look into methods and statistics, and train nothing; see README.md."""
