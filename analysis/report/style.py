"""The style of all figures: sizes, colours, panels, legend and file formats.

A label has the same colour and the same place in the order in all figures of a report: the full
agent is black, the base agent grey. A component has one colour, and so have the agents that lack it
or have it alone; the latter are dashed.
"""

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prism.benchmark.store.schema import ADD_ONE_IN, LEAVE_ONE_OUT

from ..load.data import Data
from .table import slug

FORMATS = ("svg", "png", "pdf")
WIDTHS = {"text": 7.0, "column": 3.4}  # inches
NARROW = 5.0  # inches; below this, panels are in one column
_SIDE = 0.4  # largest share of the width for a legend at the side
_SPARE = 0.5  # inches of the height that are kept for a legend
# Every colour has a contrast of 3 or more with white and with the dark page (WCAG 2.2, 1.4.11). Any
# two differ by 21 or more in CIELAB for deuteranopes and protanopes (Machado et al. 2009).
PALETTE = (
    *("#5d7fff", "#df765d", "#3a7c00", "#bb26a7"),
    *("#109be2", "#c80050", "#8420ff", "#bf699a"),
)
FULL, BASE = "#000000", "#808080"
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
RC: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.linewidth": 0.8,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "grid.linewidth": 0.5,
    "grid.color": "#e4e4e4",
    "text.parse_math": False,  # names of agents may have dollar signs and backslashes
    "svg.hashsalt": "prism",  # equal input, equal bytes
    "pdf.fonttype": 42,
    "figure.dpi": 100,
    "savefig.dpi": 200,
}


@dataclass(frozen=True)
class Style:
    """The line style of one label, in every figure."""

    color: Any
    dash: Any
    width: float


@dataclass
class Plot:
    """A figure with its file name, made a slug of, and caption."""

    name: str
    figure: Figure
    caption: str

    def __post_init__(self) -> None:
        self.name = slug(self.name)

    def lay_out(self) -> None:
        """Compute the layout once for all formats."""
        self.figure.draw_without_rendering()
        if _wrap_titles(self.figure) | _wrap_axes(self.figure):
            self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")

    def save(self, folder: Path) -> None:
        """Write the figure in every format of ``FORMATS``, without a date in the files."""
        self.lay_out()
        for ending in FORMATS:
            metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(ending)
            with mpl.rc_context(RC):
                self.figure.savefig(folder / f"{self.name}.{ending}", metadata=metadata)
        plt.close(self.figure)


def styles(data: Data) -> dict[str, Style]:
    """Return the style of every label, in the order of the report."""
    full, base = ({pair[i] for pair in data.ablations} for i in (1, 0))
    about = data.runs.drop_duplicates("label").set_index("label")
    parts = {x: about.component[x] for x in data.labels if isinstance(about.component[x], str)}
    keys = [parts.get(x, x) for x in data.labels if x not in full | base]
    numbers = {key: k for k, key in enumerate(dict.fromkeys(keys))}
    both = {LEAVE_ONE_OUT, ADD_ONE_IN} <= {about.kind[x] for x in parts}
    out = {}
    for label in data.labels:
        if label in full:
            out[label] = Style(FULL, "-", 2.2)
        elif label in base:
            out[label] = Style(BASE, "-", 2.2)
        else:
            k = numbers[parts.get(label, label)]
            turn = k // len(PALETTE) + (both and about.kind[label] == ADD_ONE_IN)
            out[label] = Style(PALETTE[k % len(PALETTE)], _DASHES[turn % len(_DASHES)], 1.5)
    return out


def columns(count: int, most: int = 3) -> int:
    """Return how many of ``count`` panels are side by side."""
    if mpl.rcParams["figure.figsize"][0] < NARROW:
        return 1
    return 2 if count == 4 else min(count, most)


def theme(width: str = "text") -> None:
    """Set the style of figures, as wide as the text of a page or one of its two columns."""
    sns.set_theme(style="ticks", rc=RC | {"figure.figsize": (WIDTHS[width], 3.0)})


def panels(count: int, height: float = 2.2, most: int = 3) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` panels, and their axes."""
    width = mpl.rcParams["figure.figsize"][0]
    across = columns(count, most)
    rows = math.ceil(count / across)
    size = (width, height * rows + _SPARE)
    figure, grid = plt.subplots(rows, across, figsize=size, squeeze=False, layout="constrained")
    axes = list(grid.flat)
    for axis in axes[count:]:
        axis.set_visible(False)
    for axis in axes:
        axis.grid(True)
        sns.despine(ax=axis)
    return figure, axes[:count]


def edges(axes: list[Axes], most: int = 3) -> tuple[list[Axes], list[Axes]]:
    """Return the panels of the first column, which label the rows, and those of the last row."""
    across = columns(len(axes), most)
    return axes[::across], axes[-across:]


def legend(figure: Figure, count: int) -> None:
    """Draw one legend for all panels: beside a single panel if it fits, else below.

    Below the panels, the figure grows by the height of the legend, so that panels keep theirs.
    Names that are wider than the figure are wrapped.
    """
    handles: dict[str, Any] = {}
    for panel in figure.axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    names, lines = list(handles), list(handles.values())
    if not names:
        return
    width = figure.get_figwidth() * figure.dpi
    if count == 1 and figure.get_figwidth() >= NARROW:
        box = figure.legend(lines, names, loc="outside right center", frameon=False)
        if box.get_window_extent().width <= _SIDE * width:
            return
        box.remove()
    below: dict[str, Any] = {"loc": "outside lower center", "frameon": False}
    for across in range(min(4, len(names)), 0, -1):
        box = figure.legend(lines, names, ncols=across, **below)
        size = box.get_window_extent()
        if size.width <= width:
            break
        box.remove()
    else:
        share = width / size.width
        names = [_wrapped(name, share) for name in names]
        box = figure.legend(lines, names, ncols=1, **below)
    height = box.get_window_extent().height / figure.dpi
    figure.set_figheight(figure.get_figheight() + max(0.0, height - _SPARE))


def _wrapped(text: str, share: float) -> str:
    """Wrap a text into lines of about this share of its length."""
    return "\n".join(textwrap.wrap(text, max(8, int(0.9 * share * len(text)))))


def _wrap_titles(figure: Figure) -> bool:
    """Wrap titles that are wider than their panels; return whether there were any."""
    wrapped = False
    for panel in figure.axes:
        text = panel.get_title(loc="left")
        width = panel.set_title(text, loc="left").get_window_extent().width
        share = panel.get_window_extent().width / max(width, 1.0)
        if share < 1:
            panel.set_title(_wrapped(text, share), loc="left")
            wrapped = True
    return wrapped


def _wrap_axes(figure: Figure) -> bool:
    """Wrap names of x axes that leave the figure; return whether there were any."""
    wrapped, inside = False, figure.bbox
    for panel in figure.axes:
        box = panel.xaxis.label.get_window_extent()
        if panel.get_xlabel() and (box.x0 < inside.x0 or box.x1 > inside.x1):
            share = panel.get_window_extent().width / box.width
            panel.set_xlabel(_wrapped(panel.get_xlabel(), share))
            wrapped = True
    return wrapped
