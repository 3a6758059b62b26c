"""Run folders and mirrors for the tests of tracking, without any training."""

import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prism.benchmark.store import schema
from prism.benchmark.store.rows import Rows
from prism.benchmark.tracking import service
from tests.wandb_server import WandbServer


def record(seed: int, study: str = "quick start") -> Any:
    return {
        "schema": schema.SCHEMA_VERSION,
        "run_id": f"dqn-cartpole-s{seed}-0123abcdef",
        "study": study,
        "job_id": "dqn-cartpole-k1-0123abcdef",
        "variant": {
            **{
                "label": "DQN + n-step",
                "kind": schema.ADD_ONE_IN,
                "base": "DQN",
                "full": "Rainbow",
            },
            **{"on": ["n-step"], "off": [], "component": "n-step", "overrides": {}},
        },
        "algo": "dqn",
        "env": "cartpole",
        "seed": seed,
        "budget": 100,
        "config": {
            **{"algo": {"lr": 0.001, "hidden": [64, 64]}, "env": {"id": "CartPole-v1"}},
            **{"evaluation": {}, "budget": 100, "log_every": None, "checkpoint_every": 60.0},
            **{"device": "cpu", "threads": 1},
        },
        "scores": {},
        "protocol": "p1",
        "protocol_facts": {},
        "code": "c0de",
        "git": None,
        "versions": {},
        "tuned": None,
        "pack": {},
    }


def plan(envs: Iterable[str] = ("cartpole",), study: str = "quick start") -> dict[str, Any]:
    """Return the plan of a study of one run for each environment."""
    runs, shared = [], ("run_id", "job_id", "variant", "algo", "env", "seed", "budget", "protocol")
    for seed, env in enumerate(envs):
        run = {key: record(seed)[key] for key in shared}
        runs.append({**run, "env": env, "cell": "c"})
    cells = {"c": {"config": record(0)["config"], "tuned": None}}
    return {
        **{"schema": schema.SCHEMA_VERSION, "study": study},
        **{"runs": runs, "cells": cells, "skipped": []},
    }


def status(state: str, **changes: Any) -> dict[str, Any]:
    blank = {"reason": None, "failure": None, "global_step": 0, "budget": 100, "attempts": 1}
    return {"state": state, **blank, "exit_code": 0, "trackers": {}, "updated": 1.7e9, **changes}


def tracking(mode: str = "online") -> dict[str, Any]:
    where = {"project": "prism", "entity": None, "job_type": "train"}
    return {"wandb": mode, "tags": ["mine"], "notes": "why", **where}


def folder(root: Path, seed: int) -> Path:
    path = root / "runs" / str(seed)
    path.mkdir(parents=True, exist_ok=True)
    return path


def row(step: int, seed: int = 0) -> dict[str, Any]:
    return {"global_step": step, "loss/q": seed + step / 3}


def ended_run(
    root: Path, seed: int = 4, rows: int = 30, state: str = "finished", wandb: str = "offline"
) -> Path:
    """Write a run folder with so many rows, and a study around it."""
    path = folder(root, seed)
    how = status(state, trackers={"wandb": wandb})
    files = {"run": record(seed), "status": how, "tracking": tracking()}
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    written = Rows(path / "metrics.jsonl", -1)
    for step in range(rows):
        written.write(row(step, seed))
    written.close()
    return path


def posts(server: WandbServer) -> list[str]:
    """Return the calls to a server that change something."""
    changing = ("UpsertBucket", "file_stream", "CreateRunFiles", "upload", "CreateArtifact")
    return [call for call in server.calls if call in changing]


@contextmanager
def own_service() -> Iterator[None]:
    """Give a test the service of this process to itself."""
    service.service.cache_clear()
    yield
    idle = threading.Event()
    service.service(os.getpid()).call(idle.set)
    assert idle.wait(60)  # nothing of this test may meet the next one's
    service.service.cache_clear()
    service.teardown()
