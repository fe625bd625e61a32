"""What a reader opens: the report of a study, and a site of many reports."""
