"""Comparisons of runs with older runs (are the new ones worse?) and with published numbers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special

from .. import stats
from ..errors import AnalysisError, count, nearest
from ..load.cells import read_csv
from ..load.data import Data
from ..load.frames import names_of
from .scores import FINAL

WORSE, NOT_WORSE, BETTER, UNDECIDED = "worse", "not worse", "better", "undecided"
IDENTICAL = "identical runs"
AGREES, DIFFERS, NOT_TOLD = "agrees", "differs", "not told apart"
MISSING_NEW, MISSING_OLD = "missing in new", "missing in old"
NOT_COMPARED = "not compared"
_SAME = ("protocol", "budget")  # what two scores must have in common; also flags


def against(
    new: Data, old: Data, margin: float = 0.05, correction: str = stats.HOLM
) -> pd.DataFrame:
    """Compare ``new`` with ``old`` on every cell (a label on an environment) of either side.

    The verdict comes from two tests, each corrected over all cells: of the difference new - old
    against 0, and against minus the margin. It is "better" if the first rejects and the difference
    is above 0; otherwise "worse" or "not worse" if the second rejects and the difference lies
    beyond the margin, or above it; otherwise "undecided". Runs whose scores are equal to the bit,
    seed by seed, are "identical runs", without a test. The tests are Welch's, or paired by seed if
    an F-test finds an effect of the seeds; with few or unequal runs they permute
    (``stats.keeps_level``). A cell with no scored run on one side is "missing" there. A cell whose
    protocol or budget differs is "not compared", unless one side was loaded with that flag in
    ``include``.

    Args:
        new: the runs in question.
        old: the runs to compare with.
        margin: the largest loss that does not matter, as a share of the absolute old mean; or of
            the distance from random to reference, if the environment has both.
        correction: correction of the tests.

    Returns:
        One row per cell that either side planned, with the scored and planned runs of both.

    Raises:
        AnalysisError: no cell is on both sides.
    """
    pairs = [(label, env) for data in (new, old) for label in data.labels for env in data.envs]
    cells = [cell for cell in dict.fromkeys(pairs) if new.size(*cell)[1] or old.size(*cell)[1]]
    if not any(new.size(*cell)[1] and old.size(*cell)[1] for cell in cells):
        raise AnalysisError(
            f"no label and environment is on both sides; new: {', '.join(new.labels[:5])} on "
            f"{', '.join(new.envs[:3])}; old: {', '.join(old.labels[:5])} on "
            f"{', '.join(old.envs[:3])}"
        )
    paired = _pairs(new, old, cells)
    frame = pd.DataFrame([_cell(new, old, label, env, margin, paired) for label, env in cells])
    frame["p_adjusted"] = stats.adjust(list(frame.p), correction)
    frame["p_margin_adjusted"] = stats.adjust(list(frame.p_margin), correction)
    family = int(frame.p.notna().sum()) if correction != stats.NONE else 1
    frame["visible"] = [
        stats.visible_effect(se, df, family) for se, df in zip(frame.se, frame.df, strict=True)
    ]
    frame["verdict"] = [row["verdict"] or _verdict(row) for row in frame.to_dict("records")]
    order = ["label", "env", "n_new", "planned_new", "n_old", "planned_old", "new", "old"]
    order += ["difference", "low", "high", "margin", "test", "p", "p_adjusted", "p_margin"]
    order += ["p_margin_adjusted", "visible", "verdict"]
    return frame[[*order, "note"]]


def _scored(data: Data, label: str, env: str) -> pd.DataFrame:
    return data.scored[(data.scored.label == label) & (data.scored.env == env)]


def _pairs(new: Data, old: Data, cells: list[tuple[str, str]]) -> bool:
    """Return whether the runs of all cells pair by seed, and their seeds have an effect."""
    layouts = []
    for cell in cells:
        x, y = (_scored(data, *cell).set_index("seed").final.sort_index() for data in (new, old))
        if len(x) and len(y):
            if not x.index.equals(y.index) or x.index.has_duplicates:
                return False
            if not x.equals(y):
                layouts.append([x.to_numpy(float), y.to_numpy(float)])
    return stats.seeds_matter(*layouts)[1] < 1 - stats.LEVEL


def _tested(x: stats.Array, y: stats.Array, paired: bool) -> stats.Difference:
    sound = stats.keeps_level(len(x), len(y))
    if paired:
        return stats.paired(x, y) if sound else stats.sign_flips(x, y)
    return stats.welch(x, y) if sound else stats.permutation(x, y)


def _cell(
    new: Data, old: Data, label: str, env: str, margin: float, paired: bool
) -> dict[str, object]:
    """Return the row of one cell: both scores, and their difference or why there is none."""
    runs, others = (_scored(data, label, env).sort_values("seed") for data in (new, old))
    x, y = runs[FINAL].to_numpy(float), others[FINAL].to_numpy(float)
    verdict = MISSING_NEW if not len(x) else MISSING_OLD if not len(y) else ""
    notes = [_why_no_score(data, label, env, name) for data, name in ((new, "new"), (old, "old"))]
    scale, p_margin = np.nan, np.nan
    difference = stats.Difference(np.nan, np.nan, np.nan, (len(x), len(y)), "")
    if not verdict:
        mismatches = dict(_mismatches(runs, others))
        barriers = [flag for flag in mismatches if flag not in {*new.include, *old.include}]
        notes += [
            text + (f" (--include {flag} allows it)" if flag in barriers else "")
            for flag, text in mismatches.items()
        ]
        verdict = NOT_COMPARED if barriers else ""
        scale = abs(others.reference.iloc[0] - others.random.iloc[0])
        if np.isnan(scale):
            scale = abs(y.mean())
            spread = stats.mean_interval(y)
            if margin and spread.low <= 0 <= spread.high:
                notes.append("the margin is a share of an old mean near 0, and means little")
        same = list(runs.seed) == list(others.seed) and np.array_equal(x, y)
        if not barriers and same and np.ptp(x) > 0:
            verdict, difference = IDENTICAL, replace(difference, value=0.0)
        elif not barriers:
            difference = _tested(x, y, paired)
            p_margin = _tested(x + margin * scale, y, paired).p
            notes.append(difference.note)
    return {
        "label": label,
        "env": env,
        "n_new": len(x),
        "planned_new": new.planned_of(label, env),
        "n_old": len(y),
        "planned_old": old.planned_of(label, env),
        "new": x.mean() if len(x) else np.nan,
        "old": y.mean() if len(y) else np.nan,
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "margin": margin * scale,
        "test": difference.method,
        "p": difference.p,
        "p_margin": p_margin,
        "se": difference.se,
        "df": difference.df,
        "verdict": verdict,
        "note": "; ".join(filter(None, notes)),
    }


def _why_no_score(data: Data, label: str, env: str, name: str) -> str:
    """Return why one side of a cell has no score; empty if it has one."""
    scored, planned = data.size(label, env)
    if scored:
        return ""
    if not planned:
        if label in data.labels:
            return f"{name} has no run of it on this environment"
        return f"{name} has no label {label!r}; {nearest(label, data.labels)}"
    runs = data.runs[(data.runs.label == label) & (data.runs.env == env)]
    return f"{name}: 0 of {count(planned, 'run')} scored: {runs.excluded.iloc[0]}"


def _mismatches(runs: pd.DataFrame, others: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield the flag and a description of what differs between the scored runs of two sides."""
    for flag in _SAME:
        ours, theirs = ({str(x) for x in side[flag].unique()} for side in (runs, others))
        if ours != theirs and "" not in ours | theirs:
            yield flag, f"{flag} {', '.join(sorted(ours))} against {', '.join(sorted(theirs))}"


def _verdict(row: dict) -> str:
    if row["p_adjusted"] < 1 - stats.LEVEL and row["difference"] > 0:
        return BETTER
    if row["p_margin_adjusted"] < 1 - stats.LEVEL:
        return WORSE if row["difference"] < -row["margin"] else NOT_WORSE
    return UNDECIDED


def read_published(path: str) -> pd.DataFrame:
    """Read published numbers: columns ``label, env, score, source``, and ``sd, n`` if known.

    Raises:
        AnalysisError: the file or a column is missing, or a number has no source.
    """
    if not Path(path).is_file():
        raise AnalysisError(f"{path}: no such file")
    try:
        frame, _ = read_csv(Path(path), comment="#")
    except ValueError as error:
        raise AnalysisError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    for column in ("label", "env", "score", "source"):
        if column not in frame:
            raise AnalysisError(f"{path}: no column {column!r}; columns: {names_of(frame)}")
    if frame.source.isna().any():
        raise AnalysisError(f"{path}: row {frame.source.isna().argmax() + 2} has no source")
    for column in ("score", *(name for name in ("sd", "n") if name in frame)):
        numbers = pd.to_numeric(frame[column], errors="coerce")
        wrong = numbers.isna() & (frame[column].notna() | (column == "score"))
        if wrong.any():
            row = int(wrong.argmax())
            value = frame[column].iloc[row]
            raise AnalysisError(f"{path}: row {row + 2}: {column} {value!r} is not a number")
        frame[column] = numbers
    return frame


def with_published(data: Data, published: pd.DataFrame, margin: float = 0.05) -> pd.DataFrame:
    """Compare our runs with published numbers.

    The verdict is "agrees" if the interval of the difference lies inside the margin: a share of the
    distance from random to reference score, or of the published number. Otherwise it is "differs"
    if the test, corrected over all numbers, rejects, and "not told apart" if it does not.

    If standard deviation and n were published, the interval is Welch's from both summaries.
    Otherwise the published number is treated as exact; ``method`` says which.

    Returns:
        One row per published number. If it is not compared, ``verdict`` is "not compared" and
        ``note`` says why, with the nearest names.

    Raises:
        AnalysisError: no published number belongs to a label and environment of our runs.
    """
    rows = [_published_row(data, row, margin) for row in published.to_dict("records")]
    frame = pd.DataFrame(rows)
    frame["p_adjusted"] = stats.holm(list(frame.p))
    told = frame.p_adjusted < 1 - stats.LEVEL
    frame["verdict"] = frame.verdict.where(frame.verdict != "", np.where(told, DIFFERS, NOT_TOLD))
    if not frame.n.any():
        raise AnalysisError(
            f"no published number belongs to these runs: {', '.join(data.labels[:6])} on "
            f"{', '.join(data.envs[:6])}"
        )
    return frame


def _published_row(data: Data, row: dict, margin: float) -> dict[str, object]:
    label, env = str(row["label"]), str(row["env"])
    runs = _scored(data, label, env)
    x = runs[FINAL].to_numpy(float)
    scale = abs(runs.reference.iloc[0] - runs.random.iloc[0]) if len(runs) else np.nan
    size = margin * (abs(row["score"]) if np.isnan(scale) else scale)
    out = {"label": label, "env": env, "n": len(x), "planned": data.planned_of(label, env)}
    out |= {"ours": x.mean() if len(x) else np.nan, "published": row["score"]}
    if len(x) < stats.LEAST_N:
        note = f"only {count(len(x), 'run')} of ours" if len(x) else _why_no_run(data, label, env)
        blank = dict.fromkeys(("difference", "low", "high", "p"), np.nan) | {"margin": size}
        return out | blank | {
            "verdict": NOT_COMPARED, "method": "", "source": row["source"], "note": note,
        }  # fmt: skip
    sd, n = float(row.get("sd", np.nan)), float(row.get("n", np.nan))
    a = np.var(x, ddof=1) / len(x)
    b = sd**2 / n if sd >= 0 and n > 1 else 0.0
    df = np.inf
    if a + b:
        df = (a + b) ** 2 / (a**2 / (len(x) - 1) + (b**2 / (n - 1) if b else 0.0))
    half = stats.student_quantile(df) * np.sqrt(a + b)
    gap, se = x.mean() - row["score"], float(np.sqrt(a + b))
    p = float(2 * special.stdtr(df, -abs(gap) / se)) if se else float(gap == 0)
    return out | {
        "difference": gap,
        "low": gap - half,
        "high": gap + half,
        "margin": size,
        "p": p,
        "verdict": AGREES if -size <= gap - half and gap + half <= size else "",
        "method": "Welch, from summaries" if b else "published number treated as exact",
        "source": row["source"],
        "note": "",
    }


def _why_no_run(data: Data, label: str, env: str) -> str:
    """Return why no run of ours matches a published number."""
    for kind, name, names in (("label", label, data.labels), ("environment", env, data.envs)):
        if name not in names:
            return f"no {kind} {name!r}; {nearest(name, names)}"
    scored, planned = data.size(label, env)
    return f"{scored} of our {planned} runs are scored"
