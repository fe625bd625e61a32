"""Studies that have run: reports written anew, worlds compared, folders packed, checked and merged."""
