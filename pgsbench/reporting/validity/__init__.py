"""Does a world order masks as a reference does? The arms of two studies, matched by name."""
