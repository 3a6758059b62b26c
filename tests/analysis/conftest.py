"""Writes synthetic study folders in the run store's schema, with known effects."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from prism.benchmark.store import digests, schema

BUDGET, ROWS = 10_000, 20
COMPONENTS = ("double", "prioritized", "dueling", "multi-step", "distributional", "noisy")
# Score at the end on env "lake"; "pond" has half of it. Only multi-step and noisy matter.
TRUTH = {"DQN": 20.0, "Rainbow": 100.0, "multi-step": 40.0, "noisy": 70.0}


class StudyWriter:
    """Builds ``results/<name>`` run by run; ``plan()`` writes the plan at the end."""

    components, truth = COMPONENTS, TRUTH

    @staticmethod
    def variant(label: str, kind: str = schema.PRESET, **more: Any) -> dict[str, Any]:
        """Return a variant of the family from DQN to Rainbow, unless ``more`` says else."""
        blank = {"on": [], "off": [], "component": None, "overrides": {}}
        return {"label": label, "kind": kind, "base": "DQN", "full": "Rainbow"} | blank | more

    def without(self, part: str) -> dict[str, Any]:
        """Return the variant "Rainbow - part"."""
        return self.variant(f"Rainbow - {part}", schema.LEAVE_ONE_OUT, component=part, off=[part])

    def rainbow(self, seeds: int = 10, envs: tuple[str, ...] = ("lake",), parts: int = 6) -> None:
        """Write DQN, Rainbow and Rainbow without each component, all runs finished."""
        ends = [(self.variant(label), TRUTH[label]) for label in ("DQN", "Rainbow")]
        off = [(self.without(x), TRUTH.get(x, TRUTH["Rainbow"])) for x in COMPONENTS[:parts]]
        for env in envs:
            for one, score in [*ends, *off]:
                for seed in range(seeds):
                    self.run(one, env, seed, score if env == "lake" else score / 2)

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder, self.rng = folder, np.random.default_rng(seed)
        self.planned: list[dict[str, Any]] = []

    def run(
        self,
        one: dict[str, Any],
        env: str,
        seed: int,
        score: float,
        *,
        state: str = schema.FINISHED,
        until: float = 1.0,
        noise: float = 5.0,
        parquet: bool = True,
        scores: tuple[float | None, float | None] = (0.0, 100.0),
        **record: Any,
    ) -> Path:
        """Write one run that rises linearly to ``score`` (plus its seed's noise)."""
        slug = re.sub(r"[^\w=.,-]", "", one["label"].lower()).replace(",", "-")
        place = re.sub(r"[^\w=.,+-]", "", env)
        run_id = f"{slug}-{place}-s{seed}"
        plan = {
            "run_id": run_id,
            "job_id": f"{slug}-{place}",
            "variant": one,
            "algo": slug.split("-")[0],
            "env": env,
            "seed": seed,
            "budget": record.get("budget", BUDGET),
            "protocol": "p1",
            "cell": f"{slug}-{place}",
        }
        self.planned.append(plan)
        path = self.folder / "runs" / run_id
        if state == "missing":
            return path
        path.mkdir(parents=True)
        end = score + noise * self.rng.normal()
        facts = {
            "schema": schema.SCHEMA_VERSION,
            **plan,
            "study": self.folder.name,
            "config": self.config(one, env),
            "scores": {"random": scores[0], "reference": scores[1]},
            "protocol_facts": {"env": env, "episodes": 10},
            "code": "c0de",
            "git": "abc",
            "versions": {"torch": "2.13.0"},
            "tuned": None,
            "pack": {"seeds": [0, 1], "device": "cpu", "threads": 1},
            **record,
        }
        (path / "run.json").write_text(json.dumps(facts))
        rows = self._rows(end, until, state, plan["budget"])
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (path / "metrics.jsonl").write_text(text)
        if parquet and state == schema.FINISHED:
            pd.DataFrame(rows).to_parquet(path / "metrics.parquet")
        status = {
            "state": state,
            "reason": "ValueError: loss is NaN" if state == schema.FAILED else None,
            "failure": schema.EXCEPTION if state == schema.FAILED else None,
            "global_step": rows[-1][schema.STEP],
            "budget": plan["budget"],
            "attempts": 1,
            "exit_code": 0,
            "trackers": {"wandb": "offline"},
            "updated": 1.7e9,
        }
        (path / "status.json").write_text(json.dumps(status))
        return path

    @staticmethod
    def config(one: dict[str, Any], env: str) -> dict[str, Any]:
        """Return the config of a run."""
        algo = {"lanes": 1, **one["overrides"]}
        blank = {"evaluation": {}, "log_every": None, "checkpoint_every": 60.0}
        where = {"device": "cpu", "threads": 1}
        return {"algo": algo, "env": {"id": env}, "budget": BUDGET, **blank, **where}

    def _rows(self, end: float, until: float, state: str, budget: int) -> list[dict[str, Any]]:
        rows = []
        for k in range(1, round(ROWS * until) + 1):
            value = end * k / ROWS
            train = value + self.rng.normal()
            row = {schema.STEP: k * budget // ROWS, schema.TRAIN_RETURN: train}
            rows.append(row | {schema.EVAL_RETURN: value, "loss/td": None if k == 1 else 0.5})
        if state == schema.FINISHED:
            rows[-1][schema.FINAL_RETURN] = end
        return rows

    def plan(self) -> Path:
        """Write ``plan.json`` and return the study's folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        skipped = [{"algo": "dqn", "env": "pendulum", "label": "DQN", "reason": "continuous"}]
        content = {"schema": schema.SCHEMA_VERSION, "study": self.folder.name, "runs": self.planned}
        cells = {
            run["cell"]: {"config": self.config(run["variant"], run["env"]), "tuned": None}
            for run in self.planned
        }
        content |= {"skipped": skipped, "cells": cells}
        (self.folder / "plan.json").write_text(json.dumps(content))
        return self.folder

    def seal(self) -> None:
        """Give finished runs the digests of their files, as Prism does."""
        for path in self.folder.glob("runs/*/status.json"):
            status = json.loads(path.read_text())
            if status["state"] == schema.FINISHED:
                status["digests"] = digests.take(path.parent, path.parent.name)
                path.write_text(json.dumps(digests.sealed(status)))


@pytest.fixture
def writer(tmp_path: Path) -> Callable[[str], StudyWriter]:
    """Return a maker of study writers under one results folder."""
    return lambda name: StudyWriter(tmp_path / "results" / name)


@pytest.fixture(scope="session")
def rainbow_writer() -> type[StudyWriter]:
    """The writer itself, for studies that several tests share."""
    return StudyWriter


@pytest.fixture(scope="session")
def rainbow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete study: eight agents, two environments, ten seeds."""
    study = StudyWriter(tmp_path_factory.mktemp("results") / "rainbow")
    study.rainbow(envs=("lake", "pond"))
    return study.plan()


@pytest.fixture
def broken(writer: Callable[[str], StudyWriter]) -> Path:
    """A study with a failed, a missing, a running and two interrupted runs, and a stray folder."""
    study = writer("broken")
    study.rainbow(seeds=5, parts=1)
    full = study.variant("Rainbow")
    study.run(full, "lake", 5, 100, state=schema.FAILED, until=0.5)
    study.run(full, "lake", 6, 100, state="missing")
    study.run(full, "lake", 7, 100, state=schema.RUNNING, until=0.7)
    study.run(full, "lake", 8, 100, state=schema.INTERRUPTED, until=0.3)
    torn = study.run(full, "lake", 9, 100, state=schema.INTERRUPTED, until=0.4)
    with (torn / "metrics.jsonl").open("a") as file:
        file.write('{"global_step": 4500, "train/ret')
    folder = study.plan()
    (folder / "runs" / "stale-of-another-grid").mkdir()
    return folder
