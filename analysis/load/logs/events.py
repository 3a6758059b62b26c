"""TensorBoard: event files, and the CSV files that its page downloads."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from prism.benchmark.store import schema

from ...errors import AnalysisError
from ..cells import layout, read_csv
from ..foreign import COLUMNS, STEPS
from .files import CLEANRL, Found

_HEADER = ["Wall time", "Step", "Value"]
_SETTING = re.compile(r"^\|([\w.]+)\|(.*)\|$", re.MULTILINE)
_TEXT = "hyperparameters/text_summary"
# with these names the step of an event is the number of environment steps
_IN_STEPS = {name for ours, names in COLUMNS.items() for name in (ours, *names) if "/" in name}
_IN_STEPS = {name for name in _IN_STEPS if not name.startswith(("env_runners", "evaluation"))}


def is_events(path: Path) -> bool:
    """Return whether a file is an event file."""
    return "tfevents" in path.name


def events(paths: Sequence[Path]) -> Found:
    """Read the scalars of a run and the settings that CleanRL writes as text.

    Raises:
        AnalysisError: TensorBoard's package is missing.
    """
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.util.tensor_util import make_ndarray
    except ImportError:
        raise AnalysisError("tensorboard is missing: pip install 'prism-rl[tensorboard]'") from None
    rows: dict[int, dict[str, Any]] = {}
    config: dict[str, Any] = {}
    for path in paths:
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if (
                    not value.HasField("tensor")
                    or value.metadata.plugin_data.plugin_name == "hparams"
                ):
                    continue
                content = make_ndarray(value.tensor)
                if value.tag.startswith(_TEXT) and content.size:
                    config |= dict(_SETTING.findall(content.reshape(-1)[0].decode()))
                elif content.size == 1 and content.dtype.kind in "fiu":
                    rows.setdefault(event.step, {})[value.tag] = float(content.reshape(-1)[0])
    frame = pd.DataFrame(rows.values(), index=list(rows)).sort_index()
    known = _IN_STEPS & set(map(str, frame)) and not set(STEPS) & set(frame)
    frame.insert(0, schema.STEP if known else "Step", frame.index)
    note = "steps are the events' steps" if known else ""
    return Found(frame, {key: text.strip() for key, text in config.items()}, note)


def is_download(path: Path) -> bool:
    """Return whether a file is a curve that TensorBoard's page downloaded."""
    return path.suffix.lower() == ".csv" and layout(path)[2] == _HEADER


def download(paths: Sequence[Path]) -> Found:
    """Read one curve. It is the training return unless the file's name has another tag."""
    frame, _ = read_csv(paths[0])
    tags = {re.sub(r"\W", "_", name): name for names in COLUMNS.values() for name in names}
    tag = paths[0].stem.partition("tag-")[2]
    name = tags.get(tag, tag) or schema.TRAIN_RETURN
    note = f"Value is {name}, as the file's name says"
    if not tag:
        note = f"no file's name says what Value is: it is taken as {name}"
    known = name in _IN_STEPS and bool(tag or CLEANRL.search(paths[0].stem))
    columns = {schema.STEP if known else "Step": frame["Step"], name: frame["Value"]}
    return Found(pd.DataFrame(columns), {}, note + ("; Step counts environment steps" * known))
