"""An executor: every job in this process, and a line in a file for each."""

from dataclasses import dataclass
from pathlib import Path

from prism.benchmark.launch.inline import Inline
from prism.benchmark.plan.executors import Options
from prism.benchmark.store.job import Job


@dataclass
class LabOptions(Options):
    """Jobs in the lab, noted in a book."""

    executor = "prism_outside.executor:Lab"
    book: str = "book.txt"


class Lab(Inline):
    """Runs jobs like the inline executor, and writes them down."""

    def start(self, job: Job) -> None:
        """Note a job, and run it."""
        with Path(self.options.book).open("a") as file:
            file.write(f"{job.job_id}\n")
        super().start(job)
