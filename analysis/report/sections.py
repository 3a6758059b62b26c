"""Further sections of the page: one function each.

A section is ``(Context) -> Section | None``; None where the study has nothing for it. To add one,
write the function in a module of its own and put it into ``SECTIONS``. Its ``body`` is HTML that
the function has escaped itself (``markupsafe``); figures are inlined with ``picture``.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from analysis.data import Data


@dataclass(frozen=True)
class Context:
    """What a section may use: the data, the scores per run, the component table, where to write."""

    data: Data
    scores: pd.DataFrame
    ablation: pd.DataFrame
    metric: str
    out: Path


@dataclass(frozen=True)
class Section:
    """A title and escaped HTML."""

    title: str
    body: Markup


def picture(path: Path, caption: str) -> Markup:
    """Return a figure with an SVG file inlined."""
    content = base64.b64encode(path.read_bytes()).decode()
    return Markup(
        '<figure class="plot"><img src="data:image/svg+xml;base64,{}" alt="{}">'
        "<figcaption>{}</figcaption></figure>"
    ).format(content, caption, caption)


SECTIONS: tuple[Callable[[Context], Section | None], ...] = ()


def sections(context: Context) -> list[Section]:
    """Return the sections that have something to say."""
    return [found for section in SECTIONS if (found := section(context))]
