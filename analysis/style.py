"""How every figure looks: sizes, colours, panels, one legend, and the files it is saved to.

One label has one colour and one place in the order through all figures of a report: the full agent
black, the base agent grey, the others from a colour-blind-safe palette.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.data import Data

FORMATS = ("svg", "png", "pdf")
WIDTHS = {"text": 7.0, "column": 3.4}  # inches
_NARROW = 5.0  # below this one panel fits across
_ORDER = (0, 1, 2, 4, 9, 3, 5, 8, 6)  # of seaborn's "colorblind"; without its grey, base's colour
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
    "svg.hashsalt": "prism",  # equal input, equal bytes
    "pdf.fonttype": 42,
    "figure.dpi": 100,
    "savefig.dpi": 200,
}


@dataclass(frozen=True)
class Style:
    """How one label is drawn, in every figure."""

    color: Any
    dash: Any
    width: float


@dataclass
class Plot:
    """A figure with its file name and caption."""

    name: str
    figure: Figure
    caption: str

    def save(self, folder: Path) -> None:
        """Write the figure in every format of ``FORMATS``, without a date."""
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")  # laid out once, not once per format
        for ending in FORMATS:
            metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(ending)
            with mpl.rc_context(RC):
                self.figure.savefig(folder / f"{self.name}.{ending}", metadata=metadata)
        plt.close(self.figure)


def styles(data: Data) -> dict[str, Style]:
    """Return the style of every label, in the order of the report."""
    full, base = ({pair[i] for pair in data.families} for i in (1, 0))
    palette = [sns.color_palette("colorblind")[i] for i in _ORDER]
    out, k = {}, 0
    for label in data.labels:
        if label in full:
            out[label] = Style("black", "-", 2.2)
        elif label in base:
            out[label] = Style("#8c8c8c", "-", 2.2)
        else:
            dash = _DASHES[k // len(palette) % len(_DASHES)]
            out[label] = Style(palette[k % len(palette)], dash, 1.5)
            k += 1
    return out


def columns(count: int, most: int = 3) -> int:
    """Return how many of ``count`` panels stand side by side."""
    if mpl.rcParams["figure.figsize"][0] < _NARROW:
        return 1
    return 2 if count == 4 else min(count, most)


def theme(width: str = "text") -> None:
    """Set how figures look, as wide as a text or one of its two columns."""
    sns.set_theme(style="ticks", rc=RC | {"figure.figsize": (WIDTHS[width], 3.0)})


def panels(count: int, height: float = 2.2, most: int = 3) -> tuple[Figure, list[Axes]]:
    """Return a figure of the theme's width, and its ``count`` axes."""
    width = mpl.rcParams["figure.figsize"][0]
    across = columns(count, most)
    rows = math.ceil(count / across)
    size = (width, height * rows + 0.5)
    figure, grid = plt.subplots(rows, across, figsize=size, squeeze=False, layout="constrained")
    axes = list(grid.flat)
    for axis in axes[count:]:
        axis.set_visible(False)
    for axis in axes:
        axis.grid(True)
        sns.despine(ax=axis)
    return figure, axes[:count]


def legend(figure: Figure, count: int) -> None:
    """Put one legend for all panels: below where there are many labels, else at the side."""
    handles: dict[str, Any] = {}
    for panel in figure.axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    labels = list(handles)
    narrow = mpl.rcParams["figure.figsize"][0] < _NARROW
    side = count == 1 and not narrow
    figure.legend(
        list(handles.values()),
        labels,
        loc="outside right center" if side else "outside lower center",
        ncols=1 if side else max(1, min(2 if narrow else 3, len(labels))),
        frameon=False,
    )
