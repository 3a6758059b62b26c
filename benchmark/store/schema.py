"""The run folder's contract between the harness, which writes it, and the analysis, which reads it.

This module imports nothing of Prism. Layout::

    results/<study>/plan.json                 Plan: every planned run
    results/<study>/intent.json               what is being done to the study; see intents.py
    results/<study>/leases/<job_id>.json      the process that runs a job
    results/<study>/jobs/<job_id>/            log.txt, heartbeat.json, checkpoint/
    results/<study>/code/<hash>.diff          how the checkout differed from its commit
    results/<study>/wandb_report.json         which W&B Report is the study's own
    results/<study>/tensorboard/              event files, if asked for; see events.py
    results/<study>/runs/<run_id>/run.json    RunRecord: what was run
                                  status.json   Status: its progress
                                  metrics.jsonl one JSON object per line; the truth
                                  metrics.parquet the same rows, written when the run finishes
                                  timing.jsonl  {"global_step", "wall", "cpu"}, in seconds,
                                                and of a row with updates "updates_per_second"
                                  tracking.json where the run was mirrored to
                                  weights.pt    final weights
                                  best.pt       those of the best periodic evaluation, if asked for
                                  media/episode.gif  the first evaluation episode, if asked for
                                  arrays/result.npz  what an agent offers for pictures; see ARRAYS
                                  error.txt     why the run failed, if it did

Every metrics row has ``global_step`` (environment steps of this seed, int). A row holds only what
was known at that step; a missing value is null or absent, never zero. A name in ``env.record`` adds
``train/<name>``, ``eval/<name>`` and ``final/<name>``: means over the same episodes as the returns.
"""

from typing import Any, TypedDict

SCHEMA_VERSION = 2

STEP = "global_step"
TRAIN_RETURN = "train/return"  # mean raw return of the episodes that ended since the last row
TRAIN_LENGTH = "train/length"
TRAIN_EPISODES = "train/episodes"  # how many those were
UPDATES = "updates"  # how often the agent has learned since its training began
REPLAY_RATIO = "replay_ratio"  # updates, times algo.gradient_steps, per environment step so far
EVAL_RETURN = "eval/return"  # mean raw return of a periodic evaluation
EVAL_LENGTH = "eval/length"
FINAL_RETURN = "final/return"  # mean of the final evaluation: the final score; last row only
# beside it, if asked for: final/return_greedy or final/return_sampled, see ``evaluation.also``
FINAL_LENGTH = "final/length"
ERROR = "error/rms"  # of tabular values against the exact ones, where the model is known

# of a run folder; q [S, A]; where states form a grid: grid [2], moves [A, 2], reachable [S]
ARRAYS = "arrays/result.npz"
WEIGHTS, BEST, VIDEO = "weights.pt", "best.pt", "media/episode.gif"

PLANNED, RUNNING, FINISHED = "planned", "running", "finished"
FAILED, INTERRUPTED, SKIPPED = "failed", "interrupted", "skipped"
STATES = (PLANNED, RUNNING, FINISHED, FAILED, INTERRUPTED, SKIPPED)

EXIT_CODES = {FINISHED: 0, INTERRUPTED: 130}  # what a run that has ended counts as; others: 1

# classes of failure
EXCEPTION, EXIT, NAN, CRASH, OOM = "exception", "exit", "nan", "crash", "oom"
HANG, TIMEOUT, DISK, LOST = "hang", "timeout", "disk", "lost"

# kinds of a variant
PRESET = "preset"  # an algorithm preset as it is
LEAVE_ONE_OUT = "leave_one_out"  # "Rainbow - double"
ADD_ONE_IN = "add_one_in"  # "DQN + n-step"
SWEEP = "sweep"  # a swept hyper-parameter: "DQN, lr=0.001"


class Variant(TypedDict):
    """How one column of a table differs from the algorithm it belongs to."""

    label: str  # what tables print
    kind: str  # PRESET | LEAVE_ONE_OUT | ADD_ONE_IN | SWEEP
    base: str  # label of the agent without any component ("DQN"); own label where there is none
    full: str  # label of the agent with all components ("Rainbow"); own label where there is none
    on: list[str]  # components switched on, of those the algorithm declares
    off: list[str]
    component: str | None  # the one that LEAVE_ONE_OUT removed or ADD_ONE_IN added
    overrides: dict[str, Any]  # config keys that make the variant, dotted, without "algo."


class PlannedRun(TypedDict):
    """One run of the plan: one seed of one cell, a (variant, environment) pair."""

    run_id: str
    job_id: str
    variant: Variant
    algo: str  # preset name
    env: str  # conf/env name
    seed: int
    budget: int
    protocol: str
    cell: str  # key of Plan's ``cells``


class PlannedCell(TypedDict):
    """What the runs of a cell share: enough to run them from the study's folder alone."""

    config: dict[str, Any]  # resolved, as a job carries it
    tuned: str | None


class Skipped(TypedDict):
    """An incompatible pair that the plan left out."""

    algo: str
    env: str
    label: str
    reason: str


class Plan(TypedDict):
    """``plan.json``."""

    schema: int
    study: str
    runs: list[PlannedRun]
    cells: dict[str, PlannedCell]
    skipped: list[Skipped]


class RunRecord(TypedDict):
    """``run.json``."""

    schema: int
    run_id: str
    job_id: str
    study: str
    variant: Variant
    algo: str
    env: str
    seed: int
    budget: int
    config: dict[str, Any]  # resolved: {"algo", "env", "evaluation", "budget", ...}
    scores: dict[str, float | None]  # {"random", "reference"} of the environment, for normalisation
    protocol: str  # of the evaluation side: hash-policy; see ``identity.protocol``
    protocol_facts: dict[str, Any]  # what the hash covers
    code: str  # hash of algos/ and benchmark/, then of other packages that the config names
    git: str | None
    versions: dict[str, str]
    tuned: str | None  # name of the tuned file used
    irreproducible: str | None  # why the run does not follow from its seed
    pack: dict[str, Any]  # {"seeds", "device", "threads"} of the job


class Status(TypedDict):
    """``status.json``."""

    state: str  # one of STATES
    reason: str | None  # one line: why it ended so, or what a finished run remarks
    failure: str | None  # the class of a failure
    global_step: int
    budget: int
    updates: int | None  # how often it has learned; None: not known
    attempts: int
    exit_code: int | None
    # by sink: "lost: <why>" or the tracker's own status; for W&B "starting", "offline", "online",
    # "uploading", "pushed" or "disabled"
    trackers: dict[str, str]
    size: int | None  # bytes of metrics.jsonl when the run finished
    updated: float  # unix seconds
