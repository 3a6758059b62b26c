"""The tables of a report: ablations, factorials, scores, profiles, completeness."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from prism.benchmark.store.schema import ADD_ONE_IN, FINISHED, LEAVE_ONE_OUT

from .. import stats
from ..errors import count
from ..load.data import Data
from ..questions.design import COMPARISON
from ..questions.sameness import unlearned
from ..questions.scores import (
    AGGREGATES,
    BEST,
    FINAL,
    HUMAN,
    MIN_MAX,
    NAMES,
    PROFILE_REPETITIONS,
    REFERENCE,
    matrices,
    name_of,
    normalised,
    profiles,
    with_forms,
)
from .table import DASH, MARK, Table, between, counted, counts, p_value, slug, spans

_LISTED = 6  # cells that a note lists


def ablation_tables(ablation: pd.DataFrame) -> list[Table]:
    """Return one table per environment, section and metric of the frame of ``ablation.ablate``.

    Without a learning curve there is none of the area under it.
    """
    if ablation.empty:
        return []
    keys = ["env", "section", "base", "full", "metric"]
    groups = ablation.groupby(keys, sort=False, dropna=False)
    return [
        _ablation_table(group.reset_index(drop=True))
        for (*_, metric), group in groups
        if metric == FINAL or group.n.any()
    ]


def _ablation_table(rows: pd.DataFrame) -> Table:
    first = rows.iloc[0]
    word, title = {
        LEAVE_ONE_OUT: ("drop", f"one component removed from {first.full}"),
        ADD_ONE_IN: ("gain", f"one component added to {first.base}"),
        COMPARISON: ("behind", f"comparison with {first.reference}"),
    }[first.section]
    columns = {
        "agent": list(rows.label),
        "n": counts(rows.n, rows.planned),
        "rank": _ranks(rows),
        NAMES[first.metric]: spans(rows["mean"], rows.low, rows.high),
        word: spans(rows.effect, rows.effect_low, rows.effect_high),
        f"{_correction(rows)} p".strip(): [p_value(p) for p in rows.p_adjusted],
    }
    if first.section != COMPARISON:
        columns["% of gap"] = spans(rows["share"], rows.share_low, rows.share_high, scale=100)
    parts = [first.section, first.base, first.full, first.env, first.metric]
    return Table(
        name=slug(*parts),
        title=f"{first.env}, {NAMES[first.metric]}: {title}",
        header=list(columns),
        rows=[list(row) for row in zip(*columns.values(), strict=True)],
        frame=rows,
        about={
            (i, j): (str(row.label), str(row.env))
            for i, row in enumerate(rows.itertuples())
            for j in range(1, len(columns))
        },
        bold={(i, 3) for i, leads in enumerate(rows.leads) if leads},
        marked={(i, 4) for i, strongest in enumerate(rows.strongest) if strongest},
        notes=_ablation_notes(rows, word),
    )


def _ranks(rows: pd.DataFrame) -> list[str]:
    """Return "2 [1, 4]": the rank by mean, and the ranks that are consistent with the data."""
    entries = []
    for rank, low, high in zip(rows["rank"], rows.rank_low, rows.rank_high, strict=True):
        spread = "" if math.isnan(low) else f" [{low:.0f}, {high:.0f}]"
        entries.append("" if math.isnan(rank) else f"{rank:.0f}{spread}")
    return entries


def _correction(rows: pd.DataFrame) -> str:
    how = rows.correction.iloc[0]
    return {stats.BH: "BH", stats.NONE: ""}.get(how, how)


def _test(rows: pd.DataFrame) -> str:
    """Return the test and the correction; for a paired test, also the number of pairs."""
    first, methods = rows.iloc[0], list(dict.fromkeys(rows.test[rows.test != ""]))
    if not methods or first.family == 0:
        return "no comparison can be tested"
    test = f"{' and '.join(methods)} test"
    pairs = rows[rows.paired & (rows.n_of > 0)].groupby("n_of").label.agg(", ".join)
    if len(pairs):
        counts = "; ".join(f"{labels}: {n}" for n, labels in pairs.items())
        test += (
            f" of {pairs.index[0]} pairs" if len(pairs) == 1 else f" of pairs of seeds ({counts})"
        )
        r = first.correlation
        test += "" if math.isnan(r) else f", correlation of seeds r = {r:.2f}"
    where = f" on {first.environments} environments" if first.environments > 1 else ""
    over = count(first.family, "comparison")
    return f"{test}; {first.correction} correction over {over}{where}"


def _ablation_notes(rows: pd.DataFrame, word: str) -> list[str]:
    first, level = rows.iloc[0], f"{stats.LEVEL:.0%}"
    sides = {
        "drop": f"{first.full} minus the agent",
        "gain": f"the agent minus {first.base}",
        "behind": f"{first.reference} minus the agent",
    }
    notes = [
        f"n: {counted(rows.planned)}. "
        f"{NAMES[first.metric].capitalize()}: mean [{level} t-interval]. "
        f"{word.capitalize()}: {sides[word]} [{level} {first.interval} interval, not corrected]. "
        f"p: {_test(rows)}. Rank: by mean [ranks consistent with the data at {level}, by Welch's "
        "tests of all pairs, Holm correction]."
    ]
    if first.section == COMPARISON:
        notes.append(
            "A reference that is the best agent is chosen after seeing the results: its lead is "
            "biased upwards, and p is corrected over all pairs of agents."
        )
    else:
        notes.append(
            f"% of gap: {word} as a share of {first.full} minus {first.base} [{level} Fieller "
            "interval]."
        )
    if rows.strongest.any():
        notes.append(f"{MARK} largest significant {word}.")
    without_share = rows[(rows.component != "") & (rows.share_note != "") & rows["share"].isna()]
    for reason, group in without_share.groupby("share_note", sort=False):
        notes.append(f"{DASH} No % of gap for {', '.join(group.label)}: {reason}.")
    for column in ("note", "flag"):
        for note, group in rows[rows[column] != ""].groupby(column, sort=False):
            notes.append(f"{', '.join(group.label)}: {note}.")
    return notes


def score_table(
    data: Data, scores: pd.DataFrame, how: str | None = None, metric: str = FINAL
) -> Table | None:
    """Return the table labels x environments of scores, or None if it would be empty.

    If ``how`` normalises the scores (``scores.normalised``), the table also has median, IQM, mean
    and optimality gap over environments, with bootstrap intervals, for labels with runs on all of
    them. Every entry has its number of runs. The notes list environments that are not normalised.
    """
    scale_notes = _unscaled(scores, how, metric) if how else []
    if how:
        scores = normalised(scores, how, metric)
    scores = scores.dropna(subset=[metric])
    envs = [env for env in data.envs if env in set(scores.env)]
    if not envs:
        return None
    cells = {
        env: [
            scores.loc[(scores.env == env) & (scores.label == label), metric].to_numpy(float)
            for label in data.labels
        ]
        for env in envs
    }
    ends = scores.drop_duplicates("env").set_index("env")
    bounds = {env: (float(ends.lowest[env]), float(ends.highest[env])) for env in envs}
    estimates, notes = _estimates(cells, bounds, how, metric)
    by_flag: dict[str, list[str]] = {}
    for (label, env), flag in unlearned(data, scores).items():
        by_flag.setdefault(flag, []).append(f"{label} on {env}")
    notes += [f"{', '.join(places)}: {flag}." for flag, places in by_flag.items()]
    columns = {name: _with_runs(column) for name, column in estimates.items()}
    frame = pd.DataFrame(
        [
            {
                "label": label,
                "env": name,
                "mean": e.value,
                "low": e.low,
                "high": e.high,
                "n": min(e.n),
                "n_most": max(e.n),
                "method": e.method,
                "note": e.note,
            }
            for name, column in estimates.items()
            for label, e in zip(data.labels, column, strict=True)
            if e.n
        ]
    )
    stem = {FINAL: "scores", BEST: "best-snapshots"}.get(metric, metric)
    return Table(
        name=slug(stem, how or ""),
        title=f"{name_of(metric).capitalize()}, "
        + (f"normalised ({how})" if how else "not normalised"),
        header=["agent", *columns],
        rows=[list(row) for row in zip(data.labels, *columns.values(), strict=True)],
        frame=frame,
        notes=[*notes, *scale_notes, *_remarks(data.labels, estimates)],
        about={
            (i, j): (label, env)
            for i, label in enumerate(data.labels)
            for j, env in enumerate(envs, 1)
        },
    )


def score_tables(data: Data, scores: pd.DataFrame, how: str | None = None) -> list[Table]:
    """Return the table of final scores, and one for each form of ``evaluation.also``."""
    scores, forms = with_forms(data, scores)
    tables = [score_table(data, scores, how, metric) for metric in (FINAL, *forms)]
    return [table for table in tables if table is not None]


def _with_runs(column: list[stats.Estimate]) -> list[str]:
    """Return "value [low, high] (n)" entries; "(n to m)" if environments differ in n."""
    entries = spans([e.value for e in column], [e.low for e in column], [e.high for e in column])
    sizes = ["" if not e.n or max(e.n) == 0 else f" ({between(e.n)})" for e in column]
    width = max(map(len, sizes), default=0)
    return [entry + size.rjust(width) for entry, size in zip(entries, sizes, strict=True)]


def _remarks(labels: list[str], estimates: dict[str, list[stats.Estimate]]) -> Iterator[str]:
    """Yield the notes of estimates, each with the cells that have it."""
    by_note: dict[str, list[str]] = {}
    for name, column in estimates.items():
        for label, estimate in zip(labels, column, strict=True):
            if estimate.note:
                by_note.setdefault(estimate.note, []).append(f"{label}, {name}")
    for note, cells in by_note.items():
        more = f" and {len(cells) - _LISTED} more" if len(cells) > _LISTED else ""
        yield f"{note[0].upper()}{note[1:]}: {'; '.join(cells[:_LISTED])}{more}."


def _unscaled(scores: pd.DataFrame, how: str, metric: str) -> list[str]:
    """Return the note about environments that cannot be normalised, if any."""
    scores = scores.dropna(subset=[metric])
    envs = set(normalised(scores, how, metric).env)
    omissions = [env for env in dict.fromkeys(scores.env) if env not in envs]
    reason = "all runs have the same score" if how == MIN_MAX else f"no {how} scores"
    return [f"Not normalised ({reason}): {', '.join(omissions)}."] if omissions else []


def profile_table(data: Data, scores: pd.DataFrame, how: str) -> Table | None:
    """Return performance profiles as a table, or None if no environment can be normalised."""
    frame = profiles(data, scores, how=how)
    if frame.empty:
        return None
    sizes = {
        label: [len(task) for task in tasks] for label, tasks in matrices(data, scores, how).items()
    }
    frame = frame.assign(
        environments=[len(sizes[x]) for x in frame.label], n=[sum(sizes[x]) for x in frame.label]
    )
    columns = {
        "agent": list(frame.label),
        "environments": list(map(str, frame.environments)),
        "runs": list(map(str, frame.n)),
        "above": [f"{x:.2f}" for x in frame.above],
        "share of runs": spans(frame["share"], frame.low, frame.high),
    }
    notes = [
        f"[{stats.LEVEL:.0%} pointwise interval: stratified percentile bootstrap over runs, "
        f"{PROFILE_REPETITIONS} repetitions]. {_SCALES[how]}"
    ]
    return Table(
        name="profile",
        title="Share of runs above a normalised score",
        header=list(columns),
        rows=[list(row) for row in zip(*columns.values(), strict=True)],
        frame=frame,
        notes=[*notes, *_unscaled(scores, how, FINAL)],
    )


def _estimates(
    cells: dict[str, list[stats.Array]],
    bounds: dict[str, tuple[float, float]],
    how: str | None,
    metric: str,
) -> tuple[dict[str, list[stats.Estimate]], list[str]]:
    """Return estimates per environment and, if normalised, over environments; and their notes."""
    estimates = {
        env: [stats.mean_interval(x, bounds=bounds[env]) for x in column]
        for env, column in cells.items()
    }
    kept = ", kept to the bounds of the score" if np.isfinite(list(bounds.values())).any() else ""
    notes = [f"Mean over runs [{stats.LEVEL:.0%} t-interval{kept}] (number of runs)."]
    if how and len(cells) > 1:
        for name, statistic in AGGREGATES.items():
            estimates[name] = [_over(statistic, row) for row in zip(*cells.values(), strict=True)]
        method = next((e.method for e in estimates["IQM"] if e.method), "stratified bootstrap")
        names = ", ".join(AGGREGATES)
        notes.append(f"{names}: [{stats.LEVEL:.0%} {method}] (runs per environment).")
    if how:
        notes.append(_SCALES[how])
    if metric == BEST:
        notes.append(
            "The highest point of each run's learning curve. It is biased upwards, because the "
            "same evaluations choose and score it: use it only to compare with published numbers "
            "of the same kind."
        )
    return estimates, notes


_SCALES = {
    REFERENCE: "0 is the random agent, 1 the reference score of each environment.",
    HUMAN: "0 is the random agent, 1 the human score of each game.",
    MIN_MAX: "0 is the lowest, 1 the highest score of all runs on each environment, so the scale "
    "depends on the runs given.",
}


def standing_table(frame: pd.DataFrame) -> Table:
    """Return the table of ``standing.standing``."""
    reference, several = frame.reference.iloc[0], frame.environments.iloc[0] > 1
    columns = {
        "agent": list(frame.label),
        "n": list(map(str, frame.n)),
        "mean rank": spans(frame["rank"], frame.rank_low, frame.rank_high),
        "first": [f"{x:.0%}" for x in frame["first"]],
        f"P(better than {reference})": spans(
            frame.improvement, frame.improvement_low, frame.improvement_high
        ),
    }
    level = f"{stats.LEVEL:.0%}"
    return Table(
        name="ranks",
        title=f"Ranks over {count(int(frame.environments.iloc[0]), 'environment')}",
        header=list(columns),
        rows=[list(row) for row in zip(*columns.values(), strict=True)],
        frame=frame,
        notes=[
            f"n: fewest runs on {'an' if several else 'the'} environment. Mean rank: of the mean "
            "score, over environments; 1 is the best. First: share of resamples with the best mean "
            "rank. P: probability that a run scores more than one of the reference, averaged over "
            f"environments, ties count half. [{level} interval: bootstrap over runs, stratified by "
            f"agent and environment, {stats.REPETITIONS} repetitions.]"
        ],
    )


def factorial_tables(frame: pd.DataFrame) -> list[Table]:
    """Return one table per environment and metric of ``factorial.effects``."""
    if frame.empty:
        return []
    groups = frame.groupby(["env", "metric"], sort=False)
    return [_factorial_table(rows.reset_index(drop=True)) for _, rows in groups]


def _factorial_table(rows: pd.DataFrame) -> Table:
    first = rows.iloc[0]
    columns = {
        "effect": [f"{kind}: {name}" for kind, name in zip(rows.kind, rows.name, strict=True)],
        "size": spans(rows.effect, rows.low, rows.high),
        f"{_correction(rows)} p".strip(): [p_value(p) for p in rows.p_adjusted],
    }
    notes = [
        f"Contrasts of the means of {first.cells} agents [{stats.LEVEL:.0%} {first.method} "
        f"interval, not corrected], n = {between([first.n, first.n_most])} runs per agent. p: "
        f"{first.correction} correction over the effects of one kind. Interaction: half the change "
        "that one component makes to the effect of the other. Shapley values add up to the "
        "difference between all components and none."
    ]
    for note, group in rows[rows.note != ""].groupby("note", sort=False):
        notes.append(f"{', '.join(group.name)}: {note}.")
    return Table(
        name=slug("factorial", first.env, first.metric),
        title=f"{first.env}, {NAMES[first.metric]}: factorial of components",
        header=list(columns),
        rows=[list(row) for row in zip(*columns.values(), strict=True)],
        frame=rows,
        notes=notes,
    )


def _over(statistic: Callable[..., stats.Array], row: Sequence[stats.Array]) -> stats.Estimate:
    """Bootstrap over environments; NaN if one has no run, because the set would differ."""
    if not all(len(x) for x in row):
        return stats.Estimate(np.nan, np.nan, np.nan, (), "", "no scored run on some environment")
    return stats.bootstrap(statistic, row)


def completeness_table(data: Data) -> Table:
    """Return the scored and planned runs per label and environment."""
    sizes = {(label, env): data.size(label, env) for label in data.labels for env in data.envs}
    idle = data.never_learned()

    def cell(label: str, env: str) -> str:
        never = f", {idle[label, env]} never learned" if (label, env) in idle else ""
        return "/".join(map(str, sizes[label, env])) + never

    rows = [[label, *(cell(label, env) for env in data.envs)] for label in data.labels]
    frame = pd.DataFrame(
        [(label, env, n, planned) for (label, env), (n, planned) in sizes.items()],
        columns=["label", "env", "scored", "planned"],
    )
    gaps = {
        (i, j + 1)
        for i, label in enumerate(data.labels)
        for j, env in enumerate(data.envs)
        if sizes[label, env][0] < sizes[label, env][1] or (label, env) in idle
    }
    title = f"Scored runs / {'planned runs' if data.planned else 'runs in the files'}"
    what = "are not scored or made no update" if idle else "are not scored"
    notes = [f"{MARK} some runs {what}."] if gaps else []
    header = ["agent", *data.envs]
    about = {
        (i, j): (label, env)
        for i, label in enumerate(data.labels)
        for j, env in enumerate(data.envs, 1)
    }
    return Table("completeness", title, header, rows, frame, marked=gaps, notes=notes, about=about)


def excluded_table(data: Data) -> Table | None:
    """Return every planned run that is not scored, with the reason."""
    runs = data.runs[data.runs.excluded != ""]
    if runs.empty:
        return None
    rows = [
        [
            run.run_id,
            run.label,
            run.env,
            str(run.seed),
            f"{run.global_step}/{run.budget}",
            reason,
            f"--include {flag}" if flag else "",
        ]
        for run, reason, flag in zip(runs.itertuples(), runs.excluded, runs.flag, strict=True)
    ]
    unfinished = int((runs.state != FINISHED).sum())
    what = "Planned runs" if data.planned else "Runs"
    title = f"{what} that are not scored: {len(runs)}, of which {unfinished} did not finish"
    header = ["run", "agent", "environment", "seed", "steps", "reason", "allow with"]
    columns = [
        "run_id",
        "label",
        "env",
        "seed",
        "global_step",
        "budget",
        "state",
        "excluded",
        "flag",
    ]
    return Table("excluded", title, header, rows, runs[columns], words=(0, 1, 2, 5, 6))
