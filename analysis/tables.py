"""Tables: built once as strings and numbers, rendered as text, Markdown, CSV, LaTeX and HTML."""

import html
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from analysis import curves, stats
from analysis.ablation import COMPARISON
from analysis.anchors import cell_anchor
from analysis.curves import FINAL, NAMES
from analysis.data import Data
from benchmark.schema import ADD_ONE_IN, FINISHED, LEAVE_ONE_OUT

DASH = "–"  # noqa: RUF001 (an en dash is what tables print for "nothing here")
_MARK = "†"
_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {DASH: "--", _MARK: r"\dag", "<": r"\textless{}", ">": r"\textgreater{}"}


@dataclass(frozen=True)
class Table:
    """A table ready to be printed.

    Attributes:
        name: file name without its ending.
        title: caption.
        header: column titles.
        rows: cells; numbers of one column have the same decimals and are padded to line up.
        frame: the same numbers, unrounded, for the CSV file.
        bold: (row, column) of a best value that a test supports.
        marked: (row, column) of the largest drop or gain.
        notes: what the caption must add.
        words: the columns that hold text; they are left-aligned, the others right-aligned.
        about: (row, column) -> the label and environment whose runs a number rests on.
    """

    name: str
    title: str
    header: list[str]
    rows: list[list[str]]
    frame: pd.DataFrame
    bold: set[tuple[int, int]] = field(default_factory=set)
    marked: set[tuple[int, int]] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    words: tuple[int, ...] = (0,)
    about: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)

    def text(self) -> str:
        """Render for a terminal."""
        rows = self._cells(lambda cell, i, j: cell + self._dagger(i, j))
        widths = [max(map(len, column)) for column in zip(self.header, *rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if j in self.words else cell.rjust(width)
                for j, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in [self.header, ["-" * width for width in widths], *rows]
        ]
        return "\n".join([self.title, "", *lines, *(f"  {note}" for note in self.notes)])

    def markdown(self) -> str:
        """Render as a GitHub table."""

        def cell(text: str, i: int, j: int) -> str:
            text = re.sub(r"([|<>*_`\\])", r"\\\1", text.strip()) + self._dagger(i, j).strip()
            return f"**{text}**" if (i, j) in self.bold else text

        rule = ["---" if j in self.words else "---:" for j in range(len(self.header))]
        lines = [f"| {' | '.join(row)} |" for row in [self.header, rule, *self._cells(cell)]]
        return "\n".join([f"**{self.title}**", "", *lines, "", *(f"{n}  " for n in self.notes)])

    def latex(self) -> str:
        """Render as a booktabs table."""

        def cell(text: str, i: int, j: int) -> str:
            text = _latex(text.strip(), numeric=j not in self.words) + _latex(
                self._dagger(i, j).strip()
            )
            return rf"\textbf{{{text}}}" if (i, j) in self.bold else text

        rows = [" & ".join(row) + r" \\" for row in self._cells(cell)]
        notes = " ".join(_latex(note) for note in self.notes)
        align = "".join("l" if j in self.words else "r" for j in range(len(self.header)))
        return "\n".join(
            [
                r"% needs \usepackage{booktabs}",
                r"\begin{table}",
                rf"\caption{{{_latex(self.title)}. {notes}}}",
                rf"\begin{{tabular}}{{{align}}}",
                r"\toprule",
                " & ".join(map(_latex, self.header)) + r" \\",
                r"\midrule",
                *rows,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def html(self, links: bool = False) -> str:
        """Render for the page; all text is escaped, padding becomes figure spaces."""

        def cell(text: str, i: int, j: int) -> str:
            text = html.escape(text + self._dagger(i, j))
            if j in self.words:
                return (
                    f"<th scope='row'>{text}</th>" if j == 0 else f"<td class='words'>{text}</td>"
                )
            text = re.sub(r"-(?=\d)", "\u2212", text).replace(" ", "\u2007")
            if links and (i, j) in self.about:
                text = f"<a href='#{cell_anchor(*self.about[i, j])}'>{text}</a>"
            style = [name for name in ("bold", "marked") if (i, j) in getattr(self, name)]
            return f"<td class='{' '.join(style)}'>{text}</td>" if style else f"<td>{text}</td>"

        head = "".join(
            f"<th scope='col'{' class=words' * (j in self.words)}>{html.escape(title)}</th>"
            for j, title in enumerate(self.header)
        )
        body = "".join(f"<tr>{''.join(row)}</tr>" for row in self._cells(cell))
        notes = f"<p class='note'>{html.escape(' '.join(self.notes))}</p>" if self.notes else ""
        return (
            f"<figure class='table'><figcaption>{html.escape(self.title)}</figcaption>"
            f"<div class='scroll'><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table></div>{notes}</figure>"
        )

    def csv(self) -> str:
        """Render the unrounded numbers."""
        return str(self.frame.to_csv(index=False, lineterminator="\n"))

    def _cells(self, render: Callable[[str, int, int], str]) -> list[list[str]]:
        return [
            [render(cell, i, j) for j, cell in enumerate(row)] for i, row in enumerate(self.rows)
        ]

    def _dagger(self, i: int, j: int) -> str:
        if not any(column == j for _, column in self.marked):
            return ""
        return _MARK if (i, j) in self.marked else " "


def _latex(text: str, numeric: bool = False) -> str:
    escaped = "".join(_LATEX.get(letter, letter) for letter in text)
    return re.sub(r"-(?=\d)", "$-$", escaped) if numeric else escaped


def decimals(values: Iterable[float]) -> int:
    """Return the decimals that suit a column: none for thousands, up to three for fractions."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=1.0)
    return 0 if largest >= 10_000 else 1 if largest >= 100 else 2 if largest >= 1 else 3


def spans(
    values: Iterable[float], lows: Iterable[float], highs: Iterable[float], scale: float = 1
) -> list[str]:
    """Return "value [low, high]" cells that line up; a dash where there is no value."""
    values = list(values)
    places = decimals(values) if scale == 1 else 0

    def column(numbers: Iterable[float]) -> list[str]:
        rounded = [round(scale * x, places) + 0.0 for x in numbers]  # + 0.0: no "-0"
        cells = [f"{x:.{places}f}" if math.isfinite(x) else DASH for x in rounded]
        width = max(map(len, cells), default=0)
        return [cell.rjust(width) for cell in cells]

    cells = [
        f"{value} [{low}, {high}]" if math.isfinite(number) else value
        for number, value, low, high in zip(
            values, column(values), column(lows), column(highs), strict=True
        )
    ]
    width = max(map(len, cells), default=0)
    return [cell.ljust(width) for cell in cells]


def ablation_tables(table: pd.DataFrame) -> list[Table]:
    """Return one table per environment, section and metric of ``ablation.ablate``'s table."""
    if table.empty:
        return []
    keys = ["env", "section", "base", "full", "metric"]
    groups = table.groupby(keys, sort=False, dropna=False)
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
        f"{_correction(rows)} p".strip(): [_p(p) for p in rows.p_adjusted],
    }
    if first.section != COMPARISON:
        columns["% of gap"] = spans(rows["share"], rows.share_low, rows.share_high, scale=100)
    parts = [first.section, first.base, first.full, first.env, first.metric]
    return Table(
        name=re.sub(r"[^a-z0-9]+", "-", "-".join(filter(None, parts)).lower()).strip("-"),
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
    cells = []
    for rank, low, high in zip(rows["rank"], rows.rank_low, rows.rank_high, strict=True):
        spread = "" if math.isnan(low) else f" [{low:.0f}, {high:.0f}]"
        cells.append("" if math.isnan(rank) else f"{rank:.0f}{spread}")
    return cells


def _correction(rows: pd.DataFrame) -> str:
    how = rows.correction.iloc[0]
    return {stats.BH: "BH", stats.NONE: ""}.get(how, how)


def _test(rows: pd.DataFrame) -> str:
    """Return the test that was used; where it is one of pairs, how many and why."""
    used = " and ".join(dict.fromkeys(rows.test[rows.test != ""])) or "no"
    pairs = rows[rows.paired & (rows.n_of > 0)].groupby("n_of").label.agg(", ".join)
    if pairs.empty:
        return f"{used} test"
    counts = "; ".join(f"{labels}: {n}" for n, labels in pairs.items())
    told = f"{pairs.index[0]} pairs" if len(pairs) == 1 else f"pairs of seeds ({counts})"
    r = rows.correlation.iloc[0]
    return f"{used} test of {told}" + ("" if math.isnan(r) else f", seeds correlate: r = {r:.2f}")


def _p(p: float) -> str:
    return "" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


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
        notes.append(f"{_MARK} largest {word} that is told apart from 0.")
    refused = rows[(rows.component != "") & (rows.share_note != "") & rows["share"].isna()]
    for reason, group in refused.groupby("share_note", sort=False):
        notes.append(f"{DASH} no % of gap for {', '.join(group.label)}: {reason}.")
    for note, group in rows[rows.note != ""].groupby("note", sort=False):
        notes.append(f"{', '.join(group.label)}: {note}.")
    return notes


def score_table(
    data: Data, scores: pd.DataFrame, how: str | None = None, metric: str = FINAL
) -> Table | None:
    """Return the table labels x environments of scores; None where it would be empty.

    Where ``how`` normalises them (``curves.normalised``) it adds IQM, median, mean and optimality
    gap over all environments, with bootstrap intervals, for the labels that ran on each.
    """
    if how:
        scores = curves.normalised(scores, how, metric)
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
    printed = {
        name: spans([e.value for e in column], [e.low for e in column], [e.high for e in column])
        for name, column in estimates.items()
    }
    frame = pd.DataFrame(
        [
            {
                "label": label,
                "env": name,
                "mean": e.value,
                "low": e.low,
                "high": e.high,
                "n": e.n[0],
            }
            for name, column in estimates.items()
            for label, e in zip(data.labels, column, strict=True)
            if e.n
        ]
    )
    stem = {FINAL: "scores", curves.BEST: "best-snapshots"}.get(metric, metric)
    return Table(
        name=f"{stem}-{how}" if how else stem,
        title=f"{'Normalised ' if how else ''}{NAMES[metric]}, {how or 'raw'}",
        header=["agent", *printed],
        rows=[list(row) for row in zip(data.labels, *printed.values(), strict=True)],
        frame=frame,
        notes=notes,
        about={
            (i, j): (label, env)
            for i, label in enumerate(data.labels)
            for j, env in enumerate(envs, 1)
        },
    )


def _estimates(
    cells: dict[str, list[stats.Array]], how: str | None, metric: str
) -> tuple[dict[str, list[stats.Estimate]], list[str]]:
    """Return a column of estimates per environment and, where normalised, over all; and notes."""
    estimates = {env: [stats.mean_interval(x) for x in column] for env, column in cells.items()}
    notes = [f"Mean over runs [{stats.LEVEL:.0%} Student interval]."]
    if how and len(cells) > 1:
        for name, statistic in curves.AGGREGATES.items():
            estimates[name] = [_over(statistic, row) for row in zip(*cells.values(), strict=True)]
        method = next((e.method for e in estimates["IQM"] if e.method), "Stratified bootstrap")
        notes.append(f"{method} for {', '.join(curves.AGGREGATES)}.")
    if how:
        notes.append(_SCALES[how])
    if metric == curves.BEST:
        notes.append(
            "Biased upwards: the highest point of each run's own curve, chosen and scored by the "
            "same evaluations. Only for comparison with numbers that were published so."
        )
    return estimates, notes


_SCALES = {
    curves.REFERENCE: "0 is the random agent, 1 the reference of each environment.",
    curves.HUMAN: "0 is the random agent, 1 the human of each game.",
    curves.MIN_MAX: "0 is the lowest, 1 the highest of all runs on each environment: relative to "
    "the runs of this study.",
}


def from_frame(frame: pd.DataFrame, title: str) -> Table:
    """Return any frame as a table; numbers with four digits."""
    words = [j for j, column in enumerate(frame) if not is_numeric_dtype(frame[column])]
    columns = [
        [_short(float(value)) for value in frame[column]]
        if j not in words
        else list(map(str, frame[column]))
        for j, column in enumerate(frame)
    ]
    return Table(
        name=re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-"),
        title=title,
        header=list(map(str, frame)),
        rows=[list(row) for row in zip(*columns, strict=True)],
        frame=frame,
        words=tuple(words),
    )


def _short(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"


def _over(statistic: Callable[..., stats.Array], row: Sequence[stats.Array]) -> stats.Estimate:
    """Bootstrap over environments; nothing where one has no run, for the set would differ."""
    if not all(len(x) for x in row):
        return stats.Estimate(np.nan, np.nan, np.nan, (), "")
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
    notes = [f"{_MARK} some planned runs are not in."] if gaps else []
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
            f"--take {flag}" if flag else "",
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
