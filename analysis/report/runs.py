"""The runs behind every number: their state, their configuration, and how to repeat them."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prism.benchmark.store.schema import ADD_ONE_IN, LEAVE_ONE_OUT

from ..load.data import Data
from ..questions.scores import AUC
from .links import cell_anchor, run_anchor
from .sentences import number


@dataclass(frozen=True)
class Cell:
    """The runs of one label on one environment."""

    anchor: str
    label: str
    env: str
    scored: int
    runs: list[dict[str, str]]
    differs: list[str]
    command: str


def cells(data: Data, scores: pd.DataFrame) -> Iterator[Cell]:
    """Yield every planned cell."""
    areas = dict(zip(scores.run_id, scores[AUC], strict=True))
    places = dict(zip(data.runs.run_id, range(len(data.runs)), strict=True))
    first: dict[str, dict[str, Any]] = {}
    for label in data.labels:
        for env in data.envs:
            runs = data.runs[(data.runs.label == label) & (data.runs.env == env)]
            if runs.empty:
                continue
            record = next((data.records[r] for r in runs.run_id if r in data.records), {})
            reference = first.setdefault(env, record)
            yield Cell(
                anchor=cell_anchor(label, env),
                label=label,
                env=env,
                scored=int((runs.excluded == "").sum()),
                runs=[_run(run, areas, places) for run in runs.to_dict("records")],
                differs=list(_differs(record, reference)),
                command=command(record),
            )


def _run(run: dict[Any, Any], areas: dict[str, float], places: dict[str, int]) -> dict[str, str]:
    area = areas.get(run["run_id"], float("nan"))
    return {
        "anchor": run_anchor(places[run["run_id"]]),
        "run_id": run["run_id"],
        "seed": str(run["seed"]),
        "state": run["state"],
        "steps": f"{run['global_step']:,}",
        "final": "" if pd.isna(run["final"]) else number(run["final"]),
        "auc": "" if pd.isna(area) else number(area),
        "note": _note(run),
    }


def _note(run: dict[Any, Any]) -> str:
    if run["excluded"]:
        return f"excluded: {run['excluded']}"
    return "; ".join(filter(None, [run["reason"], "never learned" * (run["updates"] == 0)]))


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        out |= _flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return out


def _differs(record: dict[str, Any], reference: dict[str, Any]) -> Iterator[str]:
    """Yield the settings that differ from those of the first label on the environment."""
    ours, theirs = (_flat(r.get("config") or {}) for r in (record, reference))
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key) and key not in ("algo.name", "algo.label", "seed"):
            yield f"{key}: {_text(ours.get(key))} instead of {_text(theirs.get(key))}"


def _text(value: Any) -> str:
    return json.dumps(value)


def command(record: dict[str, Any]) -> str:
    """Return the command that repeats the job of a record; empty without a record."""
    if not record.get("config"):
        return ""
    variant, config = record["variant"], record["config"]
    word = {LEAVE_ONE_OUT: "-", ADD_ONE_IN: "+"}.get(variant["kind"])
    words = [f"algo={record['algo']}", f"env={record['env']}"]
    seeds = record["pack"].get("seeds") or [record["seed"]]
    words.append(f"seed={','.join(map(str, seeds))}")
    words.append(f"budget={record['budget']}")
    if word:
        words.append(
            f"components={word}{variant['component']}"
            if variant["component"]
            else "components=none"
        )
    if not record.get("tuned"):
        words.append("tuned=false")
    elif record["tuned"] != f"{record['algo']}_{record['env']}":
        words.append(f"tuned={record['tuned']}")
    for key, value in variant["overrides"].items():
        if not word or f", {key}=" in variant["label"]:
            full = key if re.match(r"(env|evaluation)\.", key) else f"algo.{key}"
            words.append(f"{full}={_hydra(value)}")
    words += [f"evaluation.{k}={_hydra(v)}" for k, v in (config.get("evaluation") or {}).items()]
    return "prism " + ("-m " if len(seeds) > 1 else "") + shlex.join(words)


def _hydra(value: Any) -> str:
    """Return a value in Hydra's grammar."""
    if isinstance(value, list):
        return "[" + ",".join(map(_hydra, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_hydra(v)}" for key, v in value.items()) + "}"
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
