"""Power: of a test between two means, the runs it needs, and a sequential test."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from .estimators import Array
from .intervals import LEVEL

POWER = 0.8
_INTEGRATED, _NODES = 20, 64  # up to this n; points per variance


def visible_effect(se: float, df: float, family: int = 1, power: float = POWER) -> float:
    """Return the effect that a t-test with this standard error detects with probability ``power``.

    The two-sided level is divided by ``family`` comparisons, as in the first step of Holm.
    """
    tail = (1 - LEVEL) / 2 / max(1, family)
    return float((special.stdtrit(df, 1 - tail) + special.stdtrit(df, power)) * se)


def power(
    effect: float, sd_x: float, sd_y: float, n: int, alpha: float = 1 - LEVEL, sides: int = 2
) -> float:
    """Return the probability that Welch's test with ``n`` runs per group detects ``effect``.

    Only detections with the right sign count. The power is exact for normal scores: with few runs
    by integration over the two sample variances, since Satterthwaite's degrees of freedom are then
    estimated; else by the non-central t with these degrees of freedom.
    """
    a, b = sd_x**2 / n, sd_y**2 / n
    if n < 2:
        return 0.0
    if a + b == 0:
        return float(effect != 0)
    if n <= _INTEGRATED:
        return _integrated(abs(effect), a, b, n, alpha / sides)
    df = (a + b) ** 2 / ((a**2 + b**2) / (n - 1))
    shift, edge = abs(effect) / np.sqrt(a + b), special.stdtrit(df, 1 - alpha / sides)
    return float(1 - np.nan_to_num(special.nctdtr(df, shift, edge)))  # NaN: the far tail is 0


def _integrated(effect: float, a: float, b: float, n: int, tail: float) -> float:
    """Return the power of Welch's test, integrated over the sample variances of both means."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    share, weights = (nodes + 1) / 2, weights / 2
    spread = special.chdtri(n - 1, 1 - share) / (n - 1)  # quantiles of a sample variance
    u, v = a * spread[:, None], b * spread[None, :]
    df = (u + v) ** 2 / ((u**2 + v**2) / (n - 1))
    edge = special.stdtrit(df, 1 - tail) * np.sqrt(u + v)
    return float(weights @ special.ndtr((effect - edge) / np.sqrt(a + b)) @ weights)


def runs_needed(
    effect: float,
    sd_x: float,
    sd_y: float,
    alpha: float = 1 - LEVEL,
    target: float = POWER,
    sides: int = 2,
    most: int = 10_000,
) -> int | None:
    """Return the runs per group that detect ``effect`` with this power; None above ``most``."""
    if effect == 0 or power(effect, sd_x, sd_y, most, alpha, sides) < target:
        return None
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        enough = power(effect, sd_x, sd_y, middle, alpha, sides) >= target
        low, high = (low, middle) if enough else (middle, high)
    return high


def spread_above(x: Array, confidence: float = 0.8) -> float:
    """Return an upper confidence limit of the standard deviation, for plans from a small pilot.

    Source: Browne 1995, "On the use of a pilot sample for sample size determination".
    """
    n = len(x)
    if n < 2:
        return float("nan")
    return float(np.std(x, ddof=1) * np.sqrt((n - 1) / special.chdtri(n - 1, confidence)))


@dataclass(frozen=True)
class Decision:
    """The result of a sequential test after the runs so far."""

    stop: bool
    text: str
    evidence: float  # e-value against "no difference"
    low: float  # anytime-valid interval of the difference
    high: float


def _log_evidence(t: Array, df: float, size: float, prior: float) -> Array:
    """Return the log Bayes factor of t, with a prior N(0, prior^2) on the effect size."""
    g = 1 + size * prior**2
    return np.asarray(
        -0.5 * np.log(g) + 0.5 * (df + 1) * (np.log1p(t**2 / df) - np.log1p(t**2 / df / g))
    )


def sequential(
    x: Array, y: Array, margin: float = 0.0, alpha: float = 1 - LEVEL, prior: float = 1.0
) -> Decision:
    """Test whether a comparison may stop now; valid at any time, however often it is called.

    The e-value is the Bayes factor of the two-sample t-test with the right Haar prior on the
    standard deviation. Under "no difference", the probability that it ever exceeds ``1 / alpha`` is
    at most ``alpha``, for normal scores of equal variance (Perez-Ortiz, Lardy, de Heide, Grunwald
    2024, "E-statistics, group invariance and anytime-valid testing"). The interval contains the
    differences whose e-value stays below ``1 / alpha``.

    Args:
        x: scores so far.
        y: scores of the other agent so far.
        margin: smallest difference of interest; with 0 the test never stops for lack of one.
        alpha: error rate.
        prior: standard deviation of the expected effect sizes.
    """
    n, m = len(x), len(y)
    if min(n, m) < 2:
        return Decision(False, "continue: fewer than two runs", 1.0, -np.inf, np.inf)
    df, size = n + m - 2, n * m / (n + m)
    pooled = np.sqrt((np.var(x) * n + np.var(y) * m) / df)
    gap, se = float(np.mean(x) - np.mean(y)), float(pooled / np.sqrt(size))
    if se == 0:
        return Decision(False, "continue: no variance so far", 1.0, -np.inf, np.inf)
    evidence = float(np.exp(_log_evidence(np.array(gap / se), df, size, prior)))
    g, c = 1 + size * prior**2, (np.sqrt(1 + size * prior**2) / alpha) ** (2 / (df + 1))
    # the t at which the e-value is 1 / alpha; no t is large enough if c >= g
    edge = np.sqrt(df * (c - 1) / (1 - c / g)) if c < g else np.inf
    low, high = gap - edge * se, gap + edge * se
    if evidence >= 1 / alpha:
        return Decision(True, "stop: they differ", evidence, low, high)
    if -margin < low and high < margin:
        return Decision(True, f"stop: no difference of {margin:g} or more", evidence, low, high)
    return Decision(False, "continue", evidence, low, high)
