"""``python -m benchmark``."""

import sys

from prism.benchmark.cli.main import main
from prism.benchmark.util.pipes import plain_output
from prism.benchmark.util.registry import leave_working_directory

if __name__ == "__main__":
    leave_working_directory()
    with plain_output():
        sys.exit(main())
