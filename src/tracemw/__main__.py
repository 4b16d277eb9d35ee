"""``python -m tracemw``: the same as the ``tracemw`` command."""

import sys

from tracemw.cli import main

if __name__ == "__main__":
    sys.exit(main())
