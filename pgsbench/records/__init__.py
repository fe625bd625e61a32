"""What lies on disk, typed: one class, one writer and one reader for each file of a run or a study."""
