"""What a study's JSON files may hold: each is held to its type before anything uses it."""

import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from prism.benchmark.envs.config import EnvConfig
from prism.benchmark.store import reader, records, schema
from prism.benchmark.store.spec import Limits
from prism.benchmark.util.errors import ConfigError
from prism.benchmark.util.files import check_inside

VARIANT = {
    **{"label": "DQN", "kind": "preset", "base": "DQN", "full": "Rainbow", "on": [], "off": []},
    **{"component": None, "overrides": {}},
}
CONFIG = {
    **{"algo": {}, "env": {}, "evaluation": {}, "budget": 10, "log_every": None},
    **{"checkpoint_every": 60, "device": "cpu", "threads": 1},
}
SHARED = {
    **{"run_id": "r", "job_id": "j", "variant": VARIANT, "algo": "dqn", "env": "lake"},
    **{"seed": 0, "budget": 10, "protocol": "p"},
}
CONTENT: dict[str, dict[str, Any]] = {
    "plan.json": {
        **{"schema": schema.SCHEMA_VERSION, "study": "s", "skipped": []},
        **{"runs": [{**SHARED, "cell": "c"}], "cells": {"c": {"config": CONFIG, "tuned": None}}},
    },
    "run.json": {
        **{**SHARED, "schema": schema.SCHEMA_VERSION, "study": "s", "config": CONFIG},
        **{"scores": {"random": 0.5, "reference": None}, "protocol_facts": {}, "code": "c0de"},
        **{"git": None, "versions": {"torch": "2"}, "tuned": None, "pack": {}},
    },
    "status.json": {
        **{"state": "finished", "reason": None, "failure": None, "global_step": 10, "budget": 10},
        **{"attempts": 1, "exit_code": 0, "trackers": {"wandb": "offline"}, "updated": 1.7e9},
    },
    "leases/j.json": {
        **{"mark": "m", "job_id": "j", "runs": ["r"], "host": "h", "pid": 1, "born": "2"},
        **{"beat": 3, "engine": None},
    },
    "heartbeat.json": {
        **{"global_step": 1, "budget": 10, "wall": 0.5, "seeds": 1},
        **{"train_return": None, "eval_return": 2.0},
    },
}


def written(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def changed(name: str, key: str, value: Any) -> dict[str, Any]:
    """Return a sound file with one dotted key set to another value."""
    content: Any = deepcopy(CONTENT[name])
    *path, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    node = content
    for part in path:
        node = node[part]
    node[last] = value
    return dict(content)


@pytest.mark.parametrize("name", CONTENT)
def test_what_prism_writes_is_read(tmp_path, name):
    assert reader.read(written(tmp_path, name, CONTENT[name])) == CONTENT[name]


def test_a_file_that_is_not_there_is_none(tmp_path):
    assert reader.read(tmp_path / "run.json") is None
    assert reader.read(written(tmp_path, "file", "") / "run.json") is None


WRONG = [
    ("plan.json", "runs.0.run_id", "../../precious", "runs.0.run_id: '../../precious' is not the"),
    ("plan.json", "runs.0.job_id", "/etc/passwd", "runs.0.job_id: '/etc/passwd' is not the name"),
    ("plan.json", "runs.0.run_id", "..", "'..' is not the name of a file"),
    ("plan.json", "runs.0.run_id", "", "'' is not the name of a file"),
    ("plan.json", "runs.0.run_id", ".mutex", "'.mutex' is not the name of a file"),
    ("plan.json", "runs.0.run_id", "a\\b", "is not the name of a file"),
    ("plan.json", "runs.0.run_id", "a\0b", "is not the name of a file"),
    ("plan.json", "runs.0.run_id", "x" * 256, "is not the name of a file"),
    ("plan.json", "study", "a/../b", "study: 'a/../b' is not the name of a file or folder"),
    ("plan.json", "runs.0.cell", "d", "there is no cell d"),
    ("plan.json", "runs.0.seed", -1, "runs.0.seed: -1 is not a whole number from 0"),
    ("plan.json", "runs.0.seed", True, "runs.0.seed: True is not a whole number"),
    ("plan.json", "runs.0.seed", "1", "runs.0.seed: '1' is not a whole number"),
    ("plan.json", "runs.0.budget", 10**30, "is not a count"),
    ("plan.json", "runs.0.variant.label", "\x1b[2J", r"label: '\\x1b[2J' is not one line without"),
    ("plan.json", "runs.0.variant.label", "a\u202eb", r"label: 'a\\u202eb' is not one line"),
    ("plan.json", "runs.0.env", "a\nb", r"env: 'a\\nb' is not one line"),
    ("plan.json", "runs", {}, "runs: {} is not a list"),
    ("plan.json", "runs", [], "it contains no run"),
    ("plan.json", "runs.0", 5, "runs.0: 5 is not a mapping"),
    ("plan.json", "cells.c.config", None, "cells.c.config: None is not a mapping"),
    ("plan.json", "cells.c.config.algo", "dqn", "cells.c.config.algo: 'dqn' is not a mapping"),
    ("plan.json", "skipped", [{}], "skipped.0 has no key 'algo'"),
    ("run.json", "job_id", "../other", "job_id: '../other' is not the name"),
    ("run.json", "scores", {"random": "x"}, "scores.random: 'x' is not a number"),
    ("run.json", "schema", "2", "has schema '2', this version reads 2"),
    ("status.json", "updated", float("inf"), "updated: inf is not a finite number"),
    ("status.json", "updated", 10**400, "updated: 1"),
    ("run.json", "config.threads", 0, "config.threads: 0 is not a whole number above 0"),
    ("status.json", "state", 3, "state: 3 is not a text"),
    ("status.json", "trackers", {"wandb": 1}, "trackers.wandb: 1 is not a text"),
    ("leases/j.json", "job_id", "../../x", "job_id: '../../x' is not the name"),
    ("leases/j.json", "runs", "r", "runs: 'r' is not a list"),
    ("leases/j.json", "runs", ["../r"], "runs.0: '../r' is not the name"),
    ("heartbeat.json", "wall", "fast", "wall: 'fast' is not a number"),
]


@pytest.mark.parametrize(("name", "key", "value", "message"), WRONG)
def test_what_is_of_another_type_is_refused_in_one_line(tmp_path, name, key, value, message):
    path = written(tmp_path, name, changed(name, key, value))
    with pytest.raises(ConfigError) as error:
        reader.read(path)
    assert message.replace("\\\\", "\\") in str(error.value)
    assert str(error.value).isprintable() and len(str(error.value)) < 250 + len(str(tmp_path))


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize(
    "content", ["", "{", "[]", "5", "null", "NaN", '"x"', "[" * 100_000, '{"a":' * 3000, "\xff"]
)
def test_what_is_no_mapping_is_refused_in_one_line(tmp_path, name, content):
    with pytest.raises(ConfigError) as error:
        reader.read(written(tmp_path, name, content))
    assert str(error.value).isprintable()


def test_a_mapping_too_deep_to_be_walked_is_refused(tmp_path):
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"a": deep}
    path = written(tmp_path, "run.json", changed("run.json", "config.env", deep))
    with pytest.raises(ConfigError, match="nested deeper than 32 levels"):
        reader.read(path)


def test_half_a_character_is_refused_and_a_whole_one_is_not(tmp_path):
    whole = changed("run.json", "variant.label", "\U0001f600")
    assert reader.read(written(tmp_path, "run.json", whole)) == whole
    with pytest.raises(ConfigError, match="half a character"):
        reader.read(written(tmp_path, "run.json", changed("run.json", "tuned", "\ud83d")))


@pytest.mark.parametrize("name", CONTENT)
def test_a_key_that_must_be_there_is_named(tmp_path, name):
    for key in CONTENT[name]:
        content = {k: v for k, v in CONTENT[name].items() if k != key}
        with pytest.raises(ConfigError, match=f"it has no key '{key}'|has schema None"):
            reader.read(written(tmp_path, name, content))


@pytest.mark.parametrize("name", CONTENT)
def test_a_pipe_or_device_is_refused_and_not_waited_for(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="is not a regular file"):
        reader.read(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="is not a regular file"):
        records.read_json(path)


def test_a_run_is_planned_once(tmp_path):
    runs = CONTENT["plan.json"]["runs"] * 2
    with pytest.raises(ConfigError, match=r"runs\.1\.run_id: r is there twice"):
        reader.read(written(tmp_path, "plan.json", changed("plan.json", "runs", runs)))


def test_what_leads_out_of_a_folder_is_found(tmp_path):
    inner = tmp_path / "study" / "runs" / "r"
    inner.mkdir(parents=True)
    (inner / "latest").symlink_to("weights.pt")  # W&B keeps such links
    (inner / "weights.pt").touch()
    check_inside(tmp_path / "study")
    for target in ("/etc", "../../../other", str(tmp_path)):
        (inner / "out").symlink_to(target)
        with pytest.raises(ConfigError, match="out is a link that leads out of"):
            check_inside(tmp_path / "study")
        (inner / "out").unlink()
    os.mkfifo(inner / "pipe")
    with pytest.raises(ConfigError, match="pipe is not a regular file"):
        check_inside(tmp_path / "study")
    (tmp_path / "link").symlink_to(tmp_path / "study")
    with pytest.raises(ConfigError, match="is a link: name the folder"):
        check_inside(tmp_path / "link")


def test_a_config_is_held_to_the_types_of_its_class():
    reader.hold({"memory": 4, "timeout": None, "hang": float("inf")}, Limits, "limits")
    reader.hold({"wrappers": {"frame_stack": 4}, "kwargs": {"a": [1]}}, EnvConfig, "env")
    for value, kind, key in (
        ({"memory": "4"}, Limits, "c.memory: '4' is not a number"),
        ({"wrappers": {"frame_stack": True}}, EnvConfig, "c.wrappers.frame_stack: True is not a"),
        ({"kwargs": [1]}, EnvConfig, r"c.kwargs: \[1\] is not a mapping"),
        (5, EnvConfig, "c: 5 is not a mapping"),
    ):
        with pytest.raises(ConfigError, match=key):
            reader.hold(value, kind, "c")
