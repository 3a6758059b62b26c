"""``python -m prism``."""

import sys

from prism.cli import main
from prism.benchmark.util.registry import leave_working_directory

if __name__ == "__main__":
    leave_working_directory()
    sys.exit(main())
