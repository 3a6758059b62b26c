"""The analysis: bootstrap compared with rliable's algorithm, loading, and the report.

The cases run as ``python -m tools.bench.analysis_cases``, because the analysis is independent of
training.
"""

import json
import statistics
import subprocess
import sys

from tools.bench.measure import Case, Group, Result


def _case(name: str) -> Case:
    def run() -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "tools.bench.analysis_cases", name],
            capture_output=True,
            text=True,
            check=True,
        )
        result: Result = json.loads(done.stdout.splitlines()[-1])
        return result

    return run


def _report_seconds(results: dict[str, list[Result]]) -> None:
    for case, runs in results.items():
        cpu = statistics.median(run["cpu"] for run in runs)
        print(f"  {case}: {cpu:.2f} CPU seconds")


GROUPS = {
    "analysis": Group(
        {
            "bootstrap of IQM": _case("iqm"),  # steps are repetitions; 5 runs x 26 tasks
            "rliable's way": _case("reference"),
        },
        ratios=(("bootstrap of IQM", "rliable's way"),),
    ),
    "analysis_studies": Group(
        {
            "load 1,000 runs": _case("load"),  # of 1,000 rows x 10 metrics; steps are runs
            "report 700 runs": _case("report"),  # 14 variants x 5 environments x 10 seeds
        },
        report=_report_seconds,
        repeats=1,
    ),
}
