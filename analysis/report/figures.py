"""Figures: Rainbow's four, curves per environment, the score of every run, sensitivity.

A caption states n, the interval and its method, and what is not drawn.
"""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, NullFormatter

from prism.benchmark.store.schema import ADD_ONE_IN, LEAVE_ONE_OUT, PRESET, STEP, SWEEP

from .. import stats
from ..load.data import Data
from ..questions import curves
from ..questions.scores import AUC, FINAL, NAMES
from . import gridworlds
from .style import Plot, Style, edges, legend, panels, styles, theme
from .table import between


def figures(
    data: Data, scores: pd.DataFrame, ablation: pd.DataFrame, metric: str, width: str = "text"
) -> Iterator[Plot]:
    """Yield every figure for which there is data; note which are missing in ``data.notes``."""
    theme(width)
    look, by_env = styles(data), curves.learning_curves(data, metric)
    kinds = data.runs.drop_duplicates("label").set_index("label").kind
    ends = {name for pair in data.ablations for name in pair}
    agents = [x for x in data.labels if x in ends or kinds[x] == PRESET]
    aggregate = curves.aggregate_curves(data, metric)  # empty with fewer than two environments
    groups = [("agents", "agents and baselines", agents)]
    for kind, name, title in (
        (LEAVE_ONE_OUT, "ablations", "one component removed"),
        (ADD_ONE_IN, "additions", "one component added"),
        (SWEEP, "sweep", "hyperparameter values"),
    ):
        members = [x for x in data.labels if kinds[x] == kind]
        if members:
            groups.append((name, title, [x for x in data.labels if x in {*members, *ends}]))
    for name, title, labels in groups:
        if len(aggregate):
            yield _aggregate(aggregate, labels, look, name, title)
        elif len(data.envs) == 1 and labels and len(by_env):
            yield _curves(data, by_env, labels, look, metric, f"curves-{name}", title)
    if len(data.envs) > 1 and len(by_env):
        yield _curves(
            data, by_env, data.labels, look, metric, "curves-per-environment", "all agents"
        )
    if aggregate.empty:
        data.notes.append(
            "no figures of scores over environments: they need learning curves on two environments "
            "with reference scores"
        )
    else:
        yield from _above(data, curves.above_reference(data, metric), agents, look)
    if (ablation.component != "").any():
        yield _contributions(data, ablation, look)
        yield from _shares(data, ablation, look)
    yield _runs(data, scores, look)
    yield from gridworlds.figures(data, look)
    yield from _sensitivity(data, scores)


def learning_curves(data: Data, metric: str, axis: str = STEP, width: str = "text") -> Plot:
    """Return the learning curves of all labels, over steps or over wall-clock seconds."""
    theme(width)
    frame = curves.learning_curves(data, metric, axis)
    plot = _curves(data, frame, data.labels, styles(data), metric, "curves", "all agents")
    if axis != STEP:
        for panel in plot.figure.axes:
            panel.set_xlabel("wall-clock seconds of the job")
        plot.caption += (
            " Seconds are wall-clock time of the job, which trains several seeds at once."
        )
    return plot


def _line(axis: Axes, frame: pd.DataFrame, keys: Sequence[str], style: Style, name: str) -> None:
    x, y, low, high = (frame[key].to_numpy(float) for key in keys)
    axis.plot(x, y, color=style.color, ls=style.dash, lw=style.width, label=name)
    axis.fill_between(x, low, high, color=style.color, alpha=0.13, lw=0)


def _curves(
    data: Data,
    frame: pd.DataFrame,
    labels: list[str],
    look: dict[str, Style],
    metric: str,
    name: str,
    title: str,
) -> Plot:
    """Draw learning curves, one panel per environment (Rainbow's figures 1, 3 and per game)."""
    figure, axes = panels(len(data.envs), height=3.4 if len(data.envs) == 1 else 2.2)
    one = len(data.envs) == 1
    thin: list[str] = []
    twins = _twins(frame, labels, ["env", "step", "mean"])
    for axis, env in zip(axes, data.envs, strict=True):
        for label in labels:
            rows = frame[(frame.env == env) & (frame.label == label)]
            if rows.empty:
                continue
            n = int(rows.n.max())
            entry = (f"{label} (n = {n})" if one else label) + twins.get(label, "")
            _line(axis, rows, ("step", "mean", "low", "high"), look[label], entry)
            if n < 3:
                thin.append(f"{label} on {env} (n = {n})")
        axis.set_title(env, loc="left")
        axis.set_xlabel("environment steps")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.xaxis.set_major_locator(MaxNLocator(5))
    for axis in edges(axes)[0]:
        axis.set_ylabel("return")
    legend(figure, len(axes))
    caption = (
        f"Learning curves, {title}: {curves.CURVE_NAMES[metric]}, mean over runs with pointwise "
        f"{stats.LEVEL:.0%} t-interval. {_sizes(frame[frame.label.isin(labels)])}"
    )
    if thin:
        caption += f" No interval with fewer than three runs: {', '.join(thin)}."
    if data.runs.partial.any():
        caption += (
            " Unfinished runs are included up to where they stopped, so n falls along the curve."
        )
    return Plot(name, figure, caption)


def _twins(frame: pd.DataFrame, labels: list[str], keys: list[str]) -> dict[str, str]:
    """Return " = X" for every label whose lines are all hidden by those of an earlier label X."""
    first: dict[int, str] = {}
    twins = {}
    for label in labels:
        lines = frame.loc[frame.label == label, keys].reset_index(drop=True)
        same = hash(tuple(pd.util.hash_pandas_object(lines, index=False)))
        if len(lines) and first.setdefault(same, label) != label:
            twins[label] = f" = {first[same]}"
    return twins


def _sizes(frame: pd.DataFrame) -> str:
    if frame.empty:
        return "No run."
    return f"n = {between(frame.groupby(['env', 'label']).n.max())} runs per curve."


def _aggregate(
    frame: pd.DataFrame, labels: list[str], look: dict[str, Style], name: str, title: str
) -> Plot:
    """Draw median and IQM of the normalised score over environments (Rainbow's figures 1, 3)."""
    figure, axes = panels(2, height=2.8)
    twins = _twins(frame, labels, ["statistic", "share", "value"])
    for axis, statistic in zip(axes, ("median", "IQM"), strict=True):
        for label in labels:
            rows = frame[(frame.label == label) & (frame.statistic == statistic)]
            if len(rows):
                entry = f"{label} (n ≥ {rows.n.iloc[0]}){twins.get(label, '')}"
                _line(axis, rows, ("share", "value", "low", "high"), look[label], entry)
        axis.set_title(f"{statistic} over environments", loc="left")
        axis.set_xlabel("share of the budget")
    axes[0].set_ylabel("normalised score")
    legend(figure, 2)
    caption = (
        f"Normalised score over environments, {title} (0 random, 1 reference), with pointwise "
        f"{stats.LEVEL:.0%} interval (stratified percentile bootstrap over runs, "
        f"{curves.CURVE_REPETITIONS} repetitions). n: runs per environment."
    )
    return Plot(f"aggregate-{name}", figure, caption)


def _above(
    data: Data, frame: pd.DataFrame, labels: list[str], look: dict[str, Style]
) -> Iterator[Plot]:
    """Draw how many environments exceed a share of the reference score (Rainbow's figure 2).

    Shares that no agent ever exceeds have no panel.
    """
    frame, total = frame[frame.label.isin(labels)], frame["of"].iloc[0]
    most = frame.groupby("threshold")["count"].max()
    reached = [x for x in curves.THRESHOLDS if most.get(x, 0) > 0]
    if not reached:
        data.note(
            f"no figure of environments above the reference: no agent exceeds "
            f"{min(curves.THRESHOLDS):.0%} of it on any"
        )
        return
    figure, axes = panels(len(reached), height=2.2)
    for axis, threshold in zip(axes, reached, strict=True):
        for label in labels:
            rows = frame[(frame.label == label) & (frame.threshold == threshold)]
            if len(rows):
                style = look[label]
                x, y = rows["share"], rows["count"]
                axis.step(x, y, color=style.color, ls=style.dash, lw=style.width, label=label)
        axis.set_title(f"above {threshold:.0%} of the reference", loc="left")
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_ylim(-0.04 * total, 1.04 * total)
    first, last = edges(axes)
    for axis in last:
        axis.set_xlabel("share of the budget")
    for axis in first:
        axis.set_ylabel("environments")
    legend(figure, len(axes))
    caption = (
        f"Number of environments, of {total}, on which the mean normalised score of an agent "
        "exceeds a share of the reference score (0 random, 1 reference), over time."
    )
    left_out = [f"{x:.0%}" for x in curves.THRESHOLDS if x not in reached]
    if left_out:
        caption += f" Left out: {' and '.join(left_out)}, which no agent exceeds on any."
    yield Plot("environments-above", figure, caption)


def _contributions(data: Data, ablation: pd.DataFrame, look: dict[str, Style]) -> Plot:
    """Draw the drop or gain of every component per environment (Rainbow's figure 4)."""
    rows = ablation[ablation.component != ""]
    labels = [label for label in data.labels if label in set(rows.label)]
    there = set(rows.metric[rows.effect.notna()]) or {FINAL}
    metrics = [metric for metric in (FINAL, AUC) if metric in there]
    panel_keys = [(env, metric) for env in data.envs for metric in metrics]
    figure, axes = panels(len(panel_keys), height=0.27 * len(labels) + 0.7, most=2)
    cut = False
    first, last = edges(axes, most=2)
    for axis, (env, metric) in zip(axes, panel_keys, strict=True):
        here = rows[(rows.env == env) & (rows.metric == metric)].set_index("label")
        for y, label in enumerate(labels):
            if label in here.index and math.isfinite(here.effect[label]):
                low, high = data.bounds[env]
                cut |= _bar(axis, y, here.loc[label], look[label], high - low)
        axis.axvline(0, color="black", lw=0.8)
        axis.set_yticks(range(len(labels)), labels if axis in first else [])
        axis.set_ylim(len(labels) - 0.4, -0.6)
        axis.set_title(f"{env}: {NAMES[metric]}", loc="left")
        axis.grid(False, axis="y")
    effects, how = rows[rows.effect.notna()], rows.correction.iloc[0]
    word = {LEAVE_ONE_OUT: "drop against the full agent", ADD_ONE_IN: "gain over the base agent"}
    sections = [word[section] for section in dict.fromkeys(rows.section)]
    for axis in last:
        axis.set_xlabel(" or ".join(sections))
    caption = (
        f"Contribution of each component: {' or '.join(sections)}, in units of return, with "
        f"{stats.LEVEL:.0%} {' or '.join(dict.fromkeys(effects.interval))} interval "
        f"({_sides(effects)}; not corrected for the number of comparisons). "
        f"Filled bars: significant by the {' or '.join(dict.fromkeys(effects.test))} test, "
        f"{'uncorrected' if how == stats.NONE else f'after {how} correction'}."
    )
    if cut:
        caption += " Intervals end where the bounds of the score do."
    return Plot("contributions", figure, caption)


def _sides(rows: pd.DataFrame) -> str:
    """Return "n = 2 to 8 runs per agent", or the number of pairs of seeds, of the effects."""
    apart, pairs = rows[~rows.paired], rows[rows.paired]
    parts = []
    if len(apart):
        parts.append(f"n = {between(pd.concat([apart.n_of, apart.n_against]))} runs per agent")
    if len(pairs):
        parts.append(f"{between(pairs.n_of)} pairs of seeds")
    return " or ".join(parts) or "no effect"


def _shares(data: Data, ablation: pd.DataFrame, look: dict[str, Style]) -> Iterator[Plot]:
    """Draw Rainbow's figure 4: the drop in AUC as a share of full - base."""
    rows = ablation[(ablation.section == LEAVE_ONE_OUT) & (ablation.metric == AUC)]
    rows = rows[rows["share"].notna()]
    envs = [env for env in data.envs if env in set(rows.env)]
    ends = {*rows.base, *rows.full}
    if len(envs) < 2:
        return
    labels = [label for label in data.labels if label in set(rows.label)]
    runs = ablation[(ablation.section == LEAVE_ONE_OUT) & ablation.label.isin([*labels, *ends])]
    runs = runs[(runs.metric == AUC) & runs.env.isin(envs) & (runs.n > 0)]
    figure, (axis,) = panels(1, height=0.3 * len(labels) + 1.0)
    for y, label in enumerate(labels):
        shares = rows[rows.label == label].set_index("env")["share"].reindex(envs)
        spread = np.linspace(-0.26, 0.26, len(envs))
        axis.barh(y, shares.mean(), height=0.66, color=look[label].color, alpha=0.45, lw=0)
        axis.scatter(shares, y + spread, s=12, color=look[label].color, lw=0)
    axis.axvline(0, color="black", lw=0.8)
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.set_xlabel("drop as a share of full - base, area under the curve")
    axis.grid(False, axis="y")
    omissions = [env for env in data.envs if env not in envs]
    caption = (
        "Drop in area under the curve without each component, as a share of the gap between base "
        f"and full agent. Dots: environments (from the top: {', '.join(envs)}). Bars: their mean. "
        f"n = {between(runs.n)} runs per agent."
    )
    if omissions:
        caption += (
            " Not shown, because the full agent is not significantly better than the base agent: "
            f"{', '.join(omissions)}."
        )
    yield Plot("contributions-normalised", figure, caption)


def _bar(axis: Axes, y: int, row: Any, style: Style, most: float) -> bool:
    """Draw an effect and its interval; return whether that goes beyond ``most``, and is cut."""
    significant = row.p_adjusted < 1 - stats.LEVEL
    axis.barh(
        y,
        row.effect,
        height=0.66,
        color=style.color if significant else "white",
        edgecolor=style.color,
        lw=1.2,
    )
    if math.isfinite(row.effect_low):
        span = stats.cut(row.effect_low, row.effect_high, (-most, most))
        axis.plot(span, [y, y], color="#333333", lw=1.2)
    return bool(max(-row.effect_low, row.effect_high) > most)


def _runs(data: Data, scores: pd.DataFrame, look: dict[str, Style]) -> Plot:
    """Draw the final score of every run, with the mean and its interval."""
    figure, axes = panels(len(data.envs), height=0.27 * len(data.labels) + 0.7)
    first, _ = edges(axes)
    for axis, env in zip(axes, data.envs, strict=True):
        for y, label in enumerate(data.labels):
            x = scores.loc[(scores.env == env) & (scores.label == label), FINAL]
            if x.empty:
                continue
            color = look[label].color
            mean = stats.mean_interval(x.to_numpy(float), bounds=data.bounds[env])
            spread = np.linspace(-0.22, 0.22, len(x)) if len(x) > 1 else np.zeros(1)
            axis.scatter(x, y + spread, s=11, color=color, alpha=0.55, lw=0)
            axis.plot([mean.low, mean.high], [y, y], color=color, lw=2.4)
            axis.plot(mean.value, y, "|", color=color, ms=13, mew=2.4)
        axis.set_yticks(range(len(data.labels)), data.labels if axis in first else [])
        axis.set_ylim(len(data.labels) - 0.4, -0.6)
        axis.set_title(env, loc="left")
        axis.set_xlabel(NAMES[FINAL])
    sizes = between(scores.groupby(["env", "label"]).size())
    caption = (
        f"Final score of every scored run (n = {sizes} per agent), with the mean and its "
        f"{stats.LEVEL:.0%} t-interval."
    )
    return Plot("runs", figure, caption)


def _sensitivity(data: Data, scores: pd.DataFrame) -> Iterator[Plot]:
    """Draw final score and AUC against a swept number, with other overrides fixed."""
    sweep = scores[scores.kind == SWEEP]
    settings = sweep.overrides.map(json.loads)
    keys = sorted({key for setting in settings for key, x in setting.items() if _is_number(x)})
    for key in keys:
        has = settings.map(lambda setting, key=key: _is_number(setting.get(key)))
        rows = sweep[has].assign(
            x=settings[has].map(lambda setting, key=key: float(setting[key])),
            rest=settings[has].map(
                lambda setting, key=key: ", ".join(
                    f"{k}={v}" for k, v in sorted(setting.items()) if k != key
                )
            ),
        )
        if rows.x.nunique() > 1:
            yield _sensitivity_plot(data, rows, key)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sensitivity_plot(data: Data, rows: pd.DataFrame, key: str) -> Plot:
    envs = [env for env in data.envs if env in set(rows.env)]
    panel_keys = [(env, metric) for env in envs for metric in (FINAL, AUC)]
    figure, axes = panels(len(panel_keys), height=2.3, most=2)
    settings = list(dict.fromkeys(zip(rows.algo, rows.rest, strict=True)))
    palette = sns.color_palette("colorblind", len(settings))
    for axis, (env, metric) in zip(axes, panel_keys, strict=True):
        for color, (algo, rest) in zip(palette, settings, strict=True):
            here = rows[(rows.env == env) & (rows.algo == algo) & (rows.rest == rest)]
            groups = here.dropna(subset=[metric]).groupby("x")[metric]
            bounds = data.bounds[env]
            means = [stats.mean_interval(x.to_numpy(float), bounds=bounds) for _, x in groups]
            if not means:
                continue
            limits = np.abs([[m.value - m.low, m.high - m.value] for m in means]).T
            axis.errorbar(
                list(groups.groups),
                [m.value for m in means],
                np.nan_to_num(limits),
                color=color,
                marker="o",
                ms=4,
                capsize=2,
                label=", ".join(filter(None, [algo, rest])),
            )
        if rows.x.min() > 0 and rows.x.max() / rows.x.min() >= 10:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_title(f"{env}: {NAMES[metric]}", loc="left")
    for axis in edges(axes, most=2)[1]:
        axis.set_xlabel(key)
    if len(settings) > 1:
        legend(figure, len(axes))
    caption = (
        f"Sensitivity to {key}: mean over runs with {stats.LEVEL:.0%} t-interval (none with one "
        "run)."
    )
    return Plot(f"sensitivity-{key.replace('.', '-')}", figure, caption)
