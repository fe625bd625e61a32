"""Files that several processes see: replaced as a whole, and held by one of them at a time."""
