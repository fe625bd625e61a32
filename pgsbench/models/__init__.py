"""Models: the only package that imports open_clip."""
