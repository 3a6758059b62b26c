"""A launch without a terminal: ``python -m prism.benchmark.cli.submitted <log> <words>``.

Secrets are removed from its output, because the log belongs to the study and a job may run in this
process.
"""

import sys
from pathlib import Path

from ..launch.worker import take_output
from .main import main

if __name__ == "__main__":
    take_output(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
