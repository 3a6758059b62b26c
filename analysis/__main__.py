"""Run the command line: ``python -m analysis``."""

import sys

from prism.analysis.cli import main

if __name__ == "__main__":
    sys.exit(main())
