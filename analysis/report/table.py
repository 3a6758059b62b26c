"""The layout of tables: built once as strings and numbers, rendered in every format."""

import hashlib
import html
import math
import re
import textwrap
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import chain

import pandas as pd
from pandas.api.types import is_numeric_dtype

from prism.benchmark.util.text import shown

from ..load.cells import to_csv
from .links import cell_anchor

DASH = "–"  # noqa: RUF001 (an en dash is what tables print for a missing value)
MARK = "†"
_WIDTH = 100  # of notes in a terminal
_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {DASH: "--", MARK: r"\dag{}", "<": r"\textless{}", ">": r"\textgreater{}"}
_LATEX |= {"²": r"\textsuperscript{2}"}
_LATIN = 0x17F  # the last letter that pdfLaTeX knows without more packages


@dataclass(frozen=True)
class Table:
    """A table ready to print.

    Attributes:
        name: file name without its ending.
        title: caption.
        header: column titles.
        rows: entries; numbers in a column have the same decimals and are padded to align.
        frame: the same numbers, unrounded, for the CSV file.
        bold: (row, column) of a highest mean that a test separates from the runner-up.
        marked: (row, column) of what a dagger marks, such as the largest drop.
        notes: sentences below the table.
        words: the columns of text, aligned left; the others are aligned right.
        about: (row, column) -> the label and environment that a number is computed from.
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
        rows = self._entries(lambda entry, i, j: entry + self._dagger(i, j))
        widths = [max(map(len, column)) for column in zip(self.header, *rows, strict=True)]
        lines = [
            "  ".join(
                entry.ljust(width) if j in self.words else entry.rjust(width)
                for j, (entry, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in [self.header, ["-" * width for width in widths], *rows]
        ]
        notes = [
            textwrap.fill(note, _WIDTH, initial_indent="  ", subsequent_indent="    ")
            for note in self.notes
        ]
        return "\n".join([self.title, "", *lines, *notes])

    def markdown(self) -> str:
        """Render as a GitHub table."""

        def entry(text: str, i: int, j: int) -> str:
            text = markdown(text.strip()) + self._dagger(i, j).strip()
            return f"**{text}**" if (i, j) in self.bold else text

        rule = ["---" if j in self.words else "---:" for j in range(len(self.header))]
        header = list(map(markdown, self.header))
        lines = [f"| {' | '.join(row)} |" for row in [header, rule, *self._entries(entry)]]
        notes = [f"{markdown(note)}  " for note in self.notes]
        return "\n".join([f"**{markdown(self.title)}**", "", *lines, "", *notes])

    def latex(self) -> str:
        """Render as a booktabs table: a short caption, a label to refer to, notes below.

        A table that is wider than the text is shrunk to it.
        """

        def entry(text: str, i: int, j: int) -> str:
            text = _latex(text.strip(), numeric=j not in self.words) + _latex(
                self._dagger(i, j).strip()
            )
            return rf"\textbf{{{text}}}" if (i, j) in self.bold else text

        rows = [" & ".join(row) + r" \\" for row in self._entries(entry)]
        notes = " ".join(map(_latex, self.notes))
        below = [
            rf"\par\medskip\begin{{minipage}}{{\linewidth}}\footnotesize {notes}\end{{minipage}}"
        ]
        align = "".join("l" if j in self.words else "r" for j in range(len(self.header)))
        text = "".join([self.title, *self.header, *chain(*self.rows), *self.notes])
        beyond = any(ord(letter) > _LATIN and letter not in _LATEX for letter in text)
        return "\n".join(
            [
                r"% needs \usepackage{booktabs,graphicx}" + ", and XeLaTeX or LuaLaTeX" * beyond,
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{_latex(self.title)}.}}",
                rf"\label{{tab:{self.name}}}",
                r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
                rf"\begin{{tabular}}{{{align}}}",
                r"\toprule",
                " & ".join(map(_latex, self.header)) + r" \\",
                r"\midrule",
                *rows,
                r"\bottomrule",
                r"\end{tabular}}",
                *(below if notes else []),
                r"\end{table}",
                "",
            ]
        )

    def html(self, links: bool = False) -> str:
        """Render for the page. All text is escaped; padding becomes figure spaces."""

        def entry(text: str, i: int, j: int) -> str:
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
        body = "".join(f"<tr>{''.join(row)}</tr>" for row in self._entries(entry))
        notes = f"<p class='note'>{html.escape(' '.join(self.notes))}</p>" if self.notes else ""
        return (
            f"<figure class='table'><figcaption>{html.escape(self.title)}</figcaption>"
            f"<div class='scroll'><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table></div>{notes}</figure>"
        )

    def csv(self) -> str:
        """Render the unrounded numbers."""
        return to_csv(self.frame)

    def _entries(self, render: Callable[[str, int, int], str]) -> list[list[str]]:
        return [
            [render(entry, i, j) for j, entry in enumerate(row)] for i, row in enumerate(self.rows)
        ]

    def _dagger(self, i: int, j: int) -> str:
        if not any(column == j for _, column in self.marked):
            return ""
        return MARK if (i, j) in self.marked else " "


def markdown(text: str) -> str:
    """Return a text that Markdown shows as it is, in one line."""
    escaped = re.sub(r"([\\`*_<>|]|\](?=[(\[:]))", r"\\\1", shown(text))
    return re.sub(r"^(\d*)([#+\-=~:.)])(?=\s|[#=~]|$)", r"\1\\\2", escaped)


def _latex(text: str, numeric: bool = False) -> str:
    escaped = "".join(_LATEX.get(letter, letter) for letter in shown(text))
    return re.sub(r"-(?=\d)", "$-$", escaped) if numeric else escaped


def decimals(values: Iterable[float]) -> int:
    """Return the decimals of a column: none for ten thousands, up to three for fractions."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=1.0)
    return 0 if largest >= 10_000 else 1 if largest >= 100 else 2 if largest >= 1 else 3


def spans(
    values: Iterable[float], lows: Iterable[float], highs: Iterable[float], scale: float = 1
) -> list[str]:
    """Return aligned entries "value [low, high]"; a dash for a missing value."""
    values = list(values)
    places = decimals(values) if scale == 1 else 0

    def column(numbers: Iterable[float]) -> list[str]:
        rounded = [round(scale * x, places) + 0.0 for x in numbers]  # + 0.0: no "-0"
        entries = [f"{x:.{places}f}" if math.isfinite(x) else DASH for x in rounded]
        width = max(map(len, entries), default=0)
        return [entry.rjust(width) for entry in entries]

    entries = [
        f"{value} [{low}, {high}]" if math.isfinite(number) else value
        for number, value, low, high in zip(
            values, column(values), column(lows), column(highs), strict=True
        )
    ]
    width = max(map(len, entries), default=0)
    return [entry.ljust(width) for entry in entries]


def numbers(values: Iterable[float]) -> list[str]:
    """Return a column with four significant digits and no exponent; a dash for a missing value."""
    values = [float(value) for value in values]
    whole = all(x == round(x) for x in values if math.isfinite(x))

    def entry(x: float) -> str:
        if not math.isfinite(x):
            return DASH if math.isnan(x) else str(x)
        digits = 0 if whole or x == 0 else max(0, 3 - math.floor(math.log10(abs(x))))
        return f"{x:.{digits}f}"

    return [entry(x) for x in values]


def counts(scored: Iterable[float], planned: Iterable[float]) -> list[str]:
    """Return "scored/planned", or only the first where the plan is not known."""
    pairs = zip(scored, planned, strict=True)
    return [f"{n}" if math.isnan(total) else f"{n}/{total:.0f}" for n, total in pairs]


def counted(planned: Iterable[float]) -> str:
    """Return what ``counts`` shows."""
    return "scored runs" if all(map(math.isnan, planned)) else "scored/planned runs"


def p_value(p: float) -> str:
    """Return a p-value with three decimals; empty for NaN."""
    return "" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def between(sizes: Collection[int]) -> str:
    """Return "5" or "3 to 5": the smallest and the largest size; "0" for none."""
    low, high = min(sizes, default=0), max(sizes, default=0)
    return str(low) if low == high else f"{low} to {high}"


def slug(*parts: str) -> str:
    """Return the parts as a file name; letters beyond a-z are told apart by a hash."""
    text = "-".join(filter(None, parts))
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if name and text.isascii():
        return name
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}".strip("-")


def from_frame(frame: pd.DataFrame, title: str, *notes: str) -> Table:
    """Return a frame as a table."""
    words = [j for j, column in enumerate(frame) if not is_numeric_dtype(frame[column])]
    columns = [
        numbers(frame[column]) if j not in words else list(map(str, frame[column]))
        for j, column in enumerate(frame)
    ]
    return Table(
        name=slug(title),
        title=title,
        header=list(map(str, frame)),
        rows=[list(row) for row in zip(*columns, strict=True)],
        frame=frame,
        words=tuple(words),
        notes=list(notes),
    )
