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
                                  evaluations/<name>.json  Evaluation: what was evaluated later
                                  error.txt     why the run failed, if it did

plan.json and status.json also have the key ``digest``, of their other values.
``plan.json`` and ``status.json`` also have the key ``digest``, of their other values.

Every metrics row has ``global_step`` (environment steps of this seed, int). A row holds only what
was known at that step; a missing value is null or absent, never zero. A name in ``env.record`` adds
``train/<name>``, ``eval/<name>`` and ``final/<name>``: means over the same episodes as the returns.
"""

from typing import Annotated, Any, NotRequired, TypedDict

SCHEMA_VERSION = 2

# What ``reader.py`` holds a value to, beside its type.
NAME, LINE, COUNT, POSITIVE = "name", "line", "count", "positive"
SEED, FINITE = "seed", "finite"
Name = Annotated[str, NAME]  # of a file or folder: one component of a path
Line = Annotated[str, LINE]  # what is shown to people: no control characters
Count = Annotated[int, COUNT]  # from 0 on
Positive = Annotated[int, POSITIVE]
Seed = Annotated[int, SEED]  # 0 to 2147483647
Finite = Annotated[float, FINITE]

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
EVALUATIONS = "evaluations"  # folder of what was evaluated after the run
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

    label: Line  # what tables print
    kind: Line  # PRESET | LEAVE_ONE_OUT | ADD_ONE_IN | SWEEP
    base: Line  # label of the agent without any component ("DQN"); own label where there is none
    full: Line  # label of the agent with all components ("Rainbow"); own label where there is none
    on: list[Line]  # components switched on, of those the algorithm declares
    off: list[Line]
    component: Line | None  # the one that LEAVE_ONE_OUT removed or ADD_ONE_IN added
    overrides: dict[str, Any]  # config keys that make the variant, dotted, without "algo."


class Config(TypedDict):
    """What a run is asked to do, resolved, as a job carries it; ``spec.py`` reads its parts."""

    algo: dict[str, Any]
    env: dict[str, Any]
    evaluation: dict[str, Any]
    budget: Positive
    log_every: Positive | None
    checkpoint_every: Finite
    device: Line
    threads: Positive
    tracking: NotRequired[dict[str, Any]]
    limits: NotRequired[dict[str, Any]]


class PlannedRun(TypedDict):
    """One run of the plan: one seed of one cell, a (variant, environment) pair."""

    run_id: Name
    job_id: Name
    variant: Variant
    algo: Line  # preset name
    env: Line  # conf/env name
    seed: Seed
    budget: Count
    protocol: Line
    cell: Name  # key of Plan's ``cells``


class PlannedCell(TypedDict):
    """What the runs of a cell share: enough to run them from the study's folder alone."""

    config: Config
    tuned: Line | None


class Skipped(TypedDict):
    """An incompatible pair that the plan left out."""

    algo: Line
    env: Line
    label: Line
    reason: str


class Plan(TypedDict):
    """``plan.json``."""

    schema: int
    study: Name
    runs: list[PlannedRun]
    cells: dict[str, PlannedCell]
    skipped: list[Skipped]


class RunRecord(TypedDict):
    """``run.json``."""

    schema: int
    run_id: Name
    job_id: Name
    study: Name
    variant: Variant
    algo: Line
    env: Line
    seed: Seed
    budget: Count
    config: Config  # without ``tracking`` and ``limits``
    # of the environment: {"random", "reference"} for normalisation, {"lowest", "highest"} possible
    scores: dict[str, Finite | None]
    protocol: str  # of the evaluation side: hash-policy; see ``identity.protocol``
    protocol_facts: dict[str, Any]  # what the hash covers
    code: str  # hash of algos/ and benchmark/, then of other packages that the config names
    git: str | None
    versions: dict[str, str]
    tuned: str | None  # name of the tuned file used
    irreproducible: NotRequired[str | None]  # why the run does not follow from its seed
    pack: dict[str, Any]  # {"seeds", "device", "threads"} of the job


class FileDigest(TypedDict):
    """What a file was when its run finished."""

    size: Count | None  # bytes; None for run.json, whose values count and not how they are written
    sha256: str


class Digests(TypedDict):
    """What a finished run's result is made of; see ``digests.py``."""

    run_id: Name
    files: dict[str, FileDigest]  # by path in the run's folder


class Status(TypedDict):
    """``status.json``."""

    state: Line  # one of STATES
    reason: str | None  # one line: why it ended so, or what a finished run remarks
    failure: str | None  # the class of a failure
    global_step: Count
    budget: Count
    updates: NotRequired[int | None]  # how often it has learned; None: not known
    attempts: Count
    exit_code: int | None
    # by sink: "lost: <why>" or the tracker's own status; for W&B "starting", "offline", "online",
    # "uploading", "pushed" or "disabled"
    trackers: dict[str, str]
    digests: NotRequired[Digests | None]  # of a finished run
    size: NotRequired[int | None]  # bytes of metrics.jsonl; written before there were digests
    updated: Finite  # unix seconds


class Lease(TypedDict):
    """``leases/<job_id>.json``."""

    mark: str
    job_id: Name  # or the name of a launch
    runs: list[Name]  # empty for a launch
    host: Line
    pid: Count
    born: str  # when the process began, since process ids are reused
    beat: int
    engine: Line | None  # a job's name in a cluster's queue, until it starts


class Heartbeat(TypedDict):
    """``jobs/<job_id>/heartbeat.json``: how far a running job is."""

    global_step: Count  # mean over the seeds that have not failed
    budget: Count
    wall: Finite
    seeds: Count
    train_return: float | None
    eval_return: float | None


class JobExit(TypedDict):
    """``jobs/<job_id>/exit.json``: how a job on a cluster ended."""

    code: int


class Tracking(TypedDict):
    """``tracking.json``: where a run was mirrored to."""

    project: NotRequired[str]
    entity: NotRequired[str | None]
    job_type: NotRequired[str]
    tags: NotRequired[list[str]]
    notes: NotRequired[str | None]
    artifacts: NotRequired[bool]
    video: NotRequired[bool]


class WandbReport(TypedDict):
    """``wandb_report.json``: the id of the study's own W&B Report."""

    id: str
    project: str
    entity: str


class Evaluation(TypedDict):
    """``evaluations/<name>.json``: episodes played with the weights of a finished run."""

    name: Name
    weights: Line  # SHA-256 of weights.pt
    run_id: Name
    policy: Line
    stream: Line  # purpose of the episodes; see envs/episodes.py
    seed: Count  # of the episodes
    protocol: Line  # as in RunRecord, of these episodes
    episodes: Positive
    mean: Finite  # of the raw returns
    std: Finite | None
    min: Finite
    max: Finite
    length: Finite
    facts: dict[str, Finite | None]  # means of env.record
    returns: list[Finite]  # of every episode


def evaluation_file(name: str) -> str:
    """Return the file of an evaluation in its run folder."""
    return f"{EVALUATIONS}/{name}.json"


FILES: dict[str, Any] = {  # by name, or by folder where the names differ
    "plan.json": Plan,
    "run.json": RunRecord,
    "status.json": Status,
    "leases": Lease,
    "heartbeat.json": Heartbeat,
    "exit.json": JobExit,
    "tracking.json": Tracking,
    "wandb_report.json": WandbReport,
    "evaluations": Evaluation,
}
