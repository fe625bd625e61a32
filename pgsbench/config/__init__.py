"""Study files: their schema, how YAML is read, and how every mistake is found."""
