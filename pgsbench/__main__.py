"""``python -m pgsbench`` is ``pgsbench``."""

from pgsbench.cli import main

if __name__ == "__main__":
    main()
