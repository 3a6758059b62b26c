"""Benchmarks of speed and memory: ``python -m tools.bench [group ...]``.

Each measurement runs in its own process with one thread and counts CPU seconds from the first to
the last environment step. ``launch`` and ``price`` measure wall-clock time instead. The cases of a
group alternate, so that drift in the machine's speed affects all alike; ratios are of medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from tools.bench import (
    actor_critic,
    analysis,
    checkpoint,
    dqn,
    launch,
    overhead,
    policy_gradient,
    tabular,
)
from tools.bench.measure import Group, Result

GROUPS: dict[str, Group] = {
    **dqn.GROUPS,
    **overhead.GROUPS,
    **policy_gradient.GROUPS,
    **actor_critic.GROUPS,
    **analysis.GROUPS,
    **launch.GROUPS,
    **checkpoint.GROUPS,
    **tabular.GROUPS,
}


def _in_process(group: str, case: str) -> Result:
    """Run one case in a fresh process with one thread."""
    one = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    command = [sys.executable, "-W", "ignore", "-m", "tools.bench", group, "--case", case]
    done = subprocess.run(command, env=os.environ | one, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{case}: {done.stderr.strip().splitlines()[-1]}")
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(name: str, repeats: int) -> dict[str, list[Result]]:
    """Run the cases of a group in turn, ``repeats`` times."""
    group = GROUPS[name]
    results: dict[str, list[Result]] = {case: [] for case in group.cases}
    for _ in range(min(repeats, group.repeats or repeats)):
        for case, runs in results.items():
            runs.append(_in_process(name, case))
    return results


def _speed(results: list[Result]) -> float:
    return statistics.median(r["steps"] / r["cpu"] for r in results)


def _report(group: Group, results: dict[str, list[Result]]) -> None:
    for case, runs in results.items():
        if group.by_clock:
            break
        speeds = sorted(r["steps"] / r["cpu"] for r in runs)
        print(
            f"{case:18} {_speed(runs):9,.0f} steps per CPU second "
            f"({speeds[0]:,.0f} to {speeds[-1]:,.0f}, n = {len(runs)}), "
            f"peak {max(r['rss'] for r in runs):,.0f} MB"
        )
    for fast, slow in group.ratios:
        print(f"  {fast} / {slow}: {_speed(results[fast]) / _speed(results[slow]):.2f}")
    if group.report:
        group.report(results)


def main() -> None:
    """Measure the named groups, or all."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("groups", nargs="*", choices=[*GROUPS, []], metavar="group")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(GROUPS[arguments.groups[0]].cases[arguments.case]()))
        return
    print(f"one thread, CPU seconds; {time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores")
    for name in arguments.groups or GROUPS:
        print(f"\n{name}")
        _report(GROUPS[name], measure(name, arguments.repeats))


if __name__ == "__main__":
    main()
