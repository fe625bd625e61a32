"""Study files: their schema, how they are read, and the id of a run."""
