"""``python -m prism``."""

import sys

from prism.benchmark.util.registry import leave_working_directory
from prism.cli import main

if __name__ == "__main__":
    leave_working_directory()
    sys.exit(main())
