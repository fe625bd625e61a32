"""pgsbench: train, sweep, evaluate and compare patch-masking strategies for CLIP."""

__version__ = "0.1.0"
