"""Comparison of two sets of runs: which is better, is the new one worse, and published numbers."""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis import stats
from analysis.curves import FINAL
from analysis.data import Data
from analysis.errors import AnalysisError
from analysis.sources.frames import names_of

WORSE, NOT_WORSE, BETTER, UNDECIDED = "worse", "not worse", "better", "undecided"


def against(
    new: Data, old: Data, margin: float = 0.05, correction: str = stats.HOLM
) -> pd.DataFrame:
    """Say for every label and environment that both hold whether ``new`` is worse than ``old``.

    Non-inferiority: "not worse" where the 95 % interval of new - old lies above minus the margin,
    "better" where it lies above 0, "worse" where it lies below 0 and the corrected test agrees,
    "undecided" otherwise. The tests are corrected over all cells.

    Args:
        new: runs of the code, or the study, in question.
        old: runs to hold them to.
        margin: the largest loss that does not matter, as a share of the size of the old mean (of
            the distance from random to reference where the environment has both).
        correction: over all cells.

    Raises:
        AnalysisError: nothing is in both.
    """
    rows = []
    for (label, env), runs in new.scored.groupby(["label", "env"], sort=False):
        others = old.scored[(old.scored.label == label) & (old.scored.env == env)]
        if others.empty:
            continue
        x, y = runs[FINAL].to_numpy(float), others[FINAL].to_numpy(float)
        scale = others.reference.iloc[0] - others.random.iloc[0]
        loss = margin * (abs(y.mean()) if np.isnan(scale) else abs(scale))
        found = stats.welch(x, y)
        rows.append(
            {"label": label, "env": env, "n_new": len(x), "n_old": len(y), "new": x.mean(),
             "old": y.mean(), "difference": found.value, "low": found.low, "high": found.high,
             "margin": loss, "p": found.p, "visible": stats.visible_effect(found.se, found.df)}
        )  # fmt: skip
    if not rows:
        raise AnalysisError(
            f"no label and environment is in both; {', '.join(new.labels[:5])} on "
            f"{', '.join(new.envs[:3])} against {', '.join(old.labels[:5])} on "
            f"{', '.join(old.envs[:3])}"
        )
    frame = pd.DataFrame(rows)
    frame["p_adjusted"] = stats.adjust(list(frame.p), correction)
    frame["verdict"] = [_verdict(row) for row in frame.to_dict("records")]
    return frame


def _verdict(row: dict) -> str:
    if np.isnan(row["low"]):
        return UNDECIDED
    if row["p_adjusted"] < 1 - stats.LEVEL and row["difference"] < 0:
        return WORSE
    if row["low"] > 0:
        return BETTER
    return NOT_WORSE if row["low"] > -row["margin"] else UNDECIDED


def read_published(path: str) -> pd.DataFrame:
    """Read published numbers: ``label, env, score, source``, and ``sd, n, steps`` where known.

    Raises:
        AnalysisError: the file or a column is absent, or a number has no source.
    """
    if not Path(path).is_file():
        raise AnalysisError(f"{path}: no such file")
    frame = pd.read_csv(path, comment="#")
    for column in ("label", "env", "score", "source"):
        if column not in frame:
            raise AnalysisError(f"{path}: no column {column!r}; there are {names_of(frame)}")
    if frame.source.isna().any():
        raise AnalysisError(f"{path}: row {frame.source.isna().argmax() + 2} has no source")
    return frame


def with_published(data: Data, published: pd.DataFrame) -> pd.DataFrame:
    """Compare our runs with published numbers, each with its source.

    Where spread and n were published the test is Welch's from both summaries; elsewhere the number
    is taken as exact, which ``method`` says.
    """
    rows = []
    for row in published.to_dict("records"):
        ours = data.scored[(data.scored.label == row["label"]) & (data.scored.env == row["env"])]
        x = ours[FINAL].to_numpy(float)
        if len(x) < 2:
            continue
        sd, n = float(row.get("sd", np.nan)), float(row.get("n", np.nan))
        a = np.var(x, ddof=1) / len(x)
        b = sd**2 / n if sd >= 0 and n > 1 else 0.0
        df = (
            (a + b) ** 2 / (a**2 / (len(x) - 1) + (b**2 / (n - 1) if b else 0.0))
            if a + b
            else np.inf
        )
        half = stats.student_quantile(df) * np.sqrt(a + b)
        gap = x.mean() - row["score"]
        rows.append(
            {"label": row["label"], "env": row["env"], "n": len(x), "ours": x.mean(),
             "published": row["score"], "difference": gap, "low": gap - half, "high": gap + half,
             "method": "Welch, from summaries" if b else "published number taken as exact",
             "agrees": bool(gap - half <= 0 <= gap + half), "source": row["source"]}
        )  # fmt: skip
    if not rows:
        raise AnalysisError(
            f"no published number is of these runs: {', '.join(data.labels[:6])} on "
            f"{', '.join(data.envs[:6])}"
        )
    return pd.DataFrame(rows)
