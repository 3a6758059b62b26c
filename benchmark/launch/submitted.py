"""A launch without a terminal: ``python -m benchmark.launch.submitted <log> <words of a sweep>``.

Its output goes to a file of the store, which no secret may enter: a job may run in this process.
"""

import sys
from pathlib import Path

from benchmark.cli import main
from benchmark.launch.worker import take_output

if __name__ == "__main__":
    take_output(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
