"""The tables of a study: components, factorials, scores, profiles, completeness."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from prism.benchmark.store.schema import ADD_ONE_IN, FINISHED, LEAVE_ONE_OUT

from .. import stats
from ..load.data import Data
from ..questions.ablation import COMPARISON
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
    normalised,
    profiles,
)
from .table import DASH, MARK, Table, p_value, slug, spans

_LISTED = 6  # cells that a note names


def ablation_tables(ablation: pd.DataFrame) -> list[Table]:
    """Return one table per environment, section and metric of ``ablation.ablate``'s table."""
    if ablation.empty:
        return []
    keys = ["env", "section", "base", "full", "metric"]
    groups = ablation.groupby(keys, sort=False, dropna=False)
    return [_ablation_table(group.reset_index(drop=True)) for _, group in groups]


def _ablation_table(rows: pd.DataFrame) -> Table:
    first = rows.iloc[0]
    word, title = {
        LEAVE_ONE_OUT: ("drop", f"components taken out of {first.full}, one at a time"),
        ADD_ONE_IN: ("gain", f"components put into {first.base}, one at a time"),
        COMPARISON: ("behind", "comparison with the best"),
    }[first.section]
    columns = {
        "agent": list(rows.label),
        "n": [f"{n}/{planned}" for n, planned in zip(rows.n, rows.planned, strict=True)],
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
    """Return "2 [1, 4]": the rank by mean, and the ranks that the data allow."""
    entries = []
    for rank, low, high in zip(rows["rank"], rows.rank_low, rows.rank_high, strict=True):
        spread = "" if math.isnan(low) else f" [{low:.0f}, {high:.0f}]"
        entries.append("" if math.isnan(rank) else f"{rank:.0f}{spread}")
    return entries


def _correction(rows: pd.DataFrame) -> str:
    how = rows.correction.iloc[0]
    return {stats.BH: "BH", stats.NONE: ""}.get(how, how)


def _test(rows: pd.DataFrame) -> str:
    """Return the test that was used; where it is one of pairs, how many and why."""
    methods = " and ".join(dict.fromkeys(rows.test[rows.test != ""])) or "no"
    pairs = rows[rows.paired & (rows.n_of > 0)].groupby("n_of").label.agg(", ".join)
    if pairs.empty:
        return f"{methods} test"
    counts = "; ".join(f"{labels}: {n}" for n, labels in pairs.items())
    pairs_text = f"{pairs.index[0]} pairs" if len(pairs) == 1 else f"pairs of seeds ({counts})"
    r = rows.correlation.iloc[0]
    return f"{methods} test of {pairs_text}" + (
        "" if math.isnan(r) else f", seeds correlate: r = {r:.2f}"
    )


def _ablation_notes(rows: pd.DataFrame, word: str) -> list[str]:
    first, level = rows.iloc[0], f"{stats.LEVEL:.0%}"
    sides = {
        "drop": f"{first.full} minus the agent",
        "gain": f"the agent minus {first.base}",
        "behind": "the best minus the agent",
    }
    notes = [
        f"Mean over runs [{level} Student interval]; n: scored/planned runs. {word.capitalize()}: "
        f"{sides[word]} [{level} {first.interval} interval, not corrected]. p: {_test(rows)}, "
        f"{first.correction} correction over the {first.family} "
        f"comparison{'' if first.family == 1 else 's'} of this table. "
        f"Rank: by mean, with the ranks that the data allow at {level} (Welch, all pairs, Holm)."
    ]
    if word == "behind":
        notes.append("The best is chosen after the fact, which flatters it.")
    else:
        notes.append(f"% of gap: {word} as a share of {first.full} minus {first.base} [Fieller].")
    if rows.strongest.any():
        notes.append(f"{MARK} largest {word} that is told apart from 0.")
    without_share = rows[(rows.component != "") & (rows.share_note != "") & rows["share"].isna()]
    for reason, group in without_share.groupby("share_note", sort=False):
        notes.append(f"{DASH} no % of gap for {', '.join(group.label)}: {reason}.")
    for note, group in rows[rows.note != ""].groupby("note", sort=False):
        notes.append(f"{', '.join(group.label)}: {note}.")
    return notes


def score_table(
    data: Data, scores: pd.DataFrame, how: str | None = None, metric: str = FINAL
) -> Table | None:
    """Return the table labels x environments of scores; None where it would be empty.

    Where ``how`` normalises them (``scores.normalised``) it adds IQM, median, mean and optimality
    gap over all environments, with bootstrap intervals, for the labels that ran on each. Every cell
    says its number of runs, and the notes say which environments could not be normalised.
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
    estimates, notes = _estimates(cells, how, metric)
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
        name=f"{stem}-{how}" if how else stem,
        title=f"{'Normalised ' if how else ''}{NAMES[metric]}, {how or 'raw'}",
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


def _with_runs(column: list[stats.Estimate]) -> list[str]:
    """Return "value [low, high] (n)" cells; "(n to m)" where environments differ in it."""
    entries = spans([e.value for e in column], [e.low for e in column], [e.high for e in column])
    sizes = ["" if not e.n or max(e.n) == 0 else f" ({_range(e.n)})" for e in column]
    width = max(map(len, sizes), default=0)
    return [entry + size.rjust(width) for entry, size in zip(entries, sizes, strict=True)]


def _range(sizes: Sequence[int]) -> str:
    low, high = min(sizes), max(sizes)
    return str(low) if low == high else f"{low} to {high}"


def _remarks(labels: list[str], estimates: dict[str, list[stats.Estimate]]) -> Iterator[str]:
    """Yield what estimates say of themselves, with the cells that say it."""
    by_note: dict[str, list[str]] = {}
    for name, column in estimates.items():
        for label, estimate in zip(labels, column, strict=True):
            if estimate.note:
                by_note.setdefault(estimate.note, []).append(f"{label}, {name}")
    for note, cells in by_note.items():
        more = f" and {len(cells) - _LISTED} more" if len(cells) > _LISTED else ""
        yield f"{note[0].upper()}{note[1:]}: {'; '.join(cells[:_LISTED])}{more}."


def _unscaled(scores: pd.DataFrame, how: str, metric: str) -> list[str]:
    """Return the sentence on environments that a normalisation leaves out, if any."""
    scores = scores.dropna(subset=[metric])
    envs = set(normalised(scores, how, metric).env)
    omissions = [env for env in dict.fromkeys(scores.env) if env not in envs]
    reason = "all runs score the same" if how == MIN_MAX else f"no {how} scores"
    return [f"Not normalised, for {reason}: {', '.join(omissions)}."] if omissions else []


def profile_table(data: Data, scores: pd.DataFrame, how: str) -> Table | None:
    """Return performance profiles as a table; None where nothing can be normalised."""
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
        f"Pointwise {stats.LEVEL:.0%} stratified percentile bootstrap over runs, "
        f"{PROFILE_REPETITIONS} repetitions. {_SCALES[how]}"
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
    cells: dict[str, list[stats.Array]], how: str | None, metric: str
) -> tuple[dict[str, list[stats.Estimate]], list[str]]:
    """Return a column of estimates per environment and, where normalised, over all; and notes."""
    estimates = {env: [stats.mean_interval(x) for x in column] for env, column in cells.items()}
    notes = [f"Mean over runs [{stats.LEVEL:.0%} Student interval] (runs)."]
    if how and len(cells) > 1:
        for name, statistic in AGGREGATES.items():
            estimates[name] = [_over(statistic, row) for row in zip(*cells.values(), strict=True)]
        method = next((e.method for e in estimates["IQM"] if e.method), "Stratified bootstrap")
        names = ", ".join(AGGREGATES)
        notes.append(f"{method[0].upper()}{method[1:]} for {names} (runs per environment).")
    if how:
        notes.append(_SCALES[how])
    if metric == BEST:
        notes.append(
            "Biased upwards: the highest point of each run's own curve, chosen and scored by the "
            "same evaluations. Only for comparison with numbers that were published so."
        )
    return estimates, notes


_SCALES = {
    REFERENCE: "0 is the random agent, 1 the reference of each environment.",
    HUMAN: "0 is the random agent, 1 the human of each game.",
    MIN_MAX: "0 is the lowest, 1 the highest of all runs on each environment: relative to "
    "the runs of this study.",
}


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
        f"[{stats.LEVEL:.0%} {first.method} interval, not corrected] of contrasts of {first.cells} "
        f"agents' means, n = {_range([first.n, first.n_most])} runs per agent. {first.correction} "
        "correction over the effects of one kind. Interaction: half the change that one makes to "
        "the other's effect; Shapley values add up to all minus none."
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
    """Bootstrap over environments; nothing where one has no run, for the set would differ."""
    if not all(len(x) for x in row):
        return stats.Estimate(np.nan, np.nan, np.nan, (), "", "not on every environment")
    return stats.bootstrap(statistic, row)


def completeness_table(data: Data) -> Table:
    """Return scored / planned runs per label and environment."""
    sizes = {(label, env): data.size(label, env) for label in data.labels for env in data.envs}
    rows = [
        [label, *("/".join(map(str, sizes[label, env])) for env in data.envs)]
        for label in data.labels
    ]
    frame = pd.DataFrame(
        [(label, env, n, planned) for (label, env), (n, planned) in sizes.items()],
        columns=["label", "env", "scored", "planned"],
    )
    gaps = {
        (i, j + 1)
        for i, label in enumerate(data.labels)
        for j, env in enumerate(data.envs)
        if sizes[label, env][0] < sizes[label, env][1]
    }
    title = "Runs that enter the scores, of those planned"
    notes = [f"{MARK} some planned runs are not in."] if gaps else []
    header = ["agent", *data.envs]
    about = {
        (i, j): (label, env)
        for i, label in enumerate(data.labels)
        for j, env in enumerate(data.envs, 1)
    }
    return Table("completeness", title, header, rows, frame, marked=gaps, notes=notes, about=about)


def excluded_table(data: Data) -> Table | None:
    """Return every planned run that does not enter the scores, with the reason."""
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
            why,
            f"--include {flag}" if flag else "",
        ]
        for run, why, flag in zip(runs.itertuples(), runs.excluded, runs.flag, strict=True)
    ]
    unfinished = int((runs.state != FINISHED).sum())
    title = f"{len(runs)} planned runs do not enter the scores ({unfinished} of them not finished)"
    header = ["run", "agent", "environment", "seed", "steps", "why", "let in by"]
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
