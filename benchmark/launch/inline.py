"""The inline executor: every job in this process, for a debugger."""

import signal
import traceback

from ..plan.executors import Options
from ..store.job import Job
from . import worker
from .executor import Exit


class Inline:
    """Runs each job in this process, to its end, as soon as it starts."""

    slots, blocking = 1, True

    def __init__(self, run: worker.Run, jobs: list[Job], options: Options) -> None:
        self.run, self.options = run, options
        self.running: dict[str, Job] = {}
        self.exits: list[Exit] = []

    def start(self, job: Job) -> None:
        """Run a job; whatever it raises ends this job only."""
        self.running[job.job_id] = job
        code, error = 0, ""
        try:
            worker.run_inside(self.run, job)
        except SystemExit as exit:
            code, error = exit.code if isinstance(exit.code, int) else 1, f"SystemExit: {exit.code}"
        except KeyboardInterrupt:
            code, error = -signal.SIGINT, "KeyboardInterrupt"
        except Exception:
            code, error = 1, traceback.format_exc()
        self.exits.append(Exit(self.running.pop(job.job_id), code, error))

    def poll(self, seconds: float) -> list[Exit]:
        """Return the jobs that ended."""
        exits, self.exits = self.exits, []
        return exits

    def stop(self) -> None:
        """Do nothing: the job runs in this process and received the signal itself."""

    def kill(self, job_id: str) -> None:
        """Do nothing: the job runs in this process and received the signal itself."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
