"""A folder from somebody else is data: what it tries to run, to reach or to show as more than text.

Each attack makes a copy of an honest study hostile, runs one command on it, and expects one line
and exit code 2, or what the table says. Nothing outside of the study may have changed, no code of
the folder may have run, and no variable of the environment may have been told.
"""

import io
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prism.benchmark.store import trust
from prism.cli import main

ROOT = Path(__file__).resolve().parents[1]
SECRET = "xyzzy-plugh-0123"
TINY = [
    *("algo=dqn", "env=cartpole", "algo.learning_starts=20", "algo.hidden=[8]", "budget=60"),
    *("evaluation.episodes=1", "evaluation.periodic_episodes=1", "tracking=disabled"),
]
ESC, BIDI = "\x1b]0;owned\x07\x1b[2J", "\u202egnp"
REFUSED = r"\Aerror: [^\n]*{}[^\n]*\n\Z"
CODE = REFUSED.format(r"would load code, and you have not launched it[^\n]*--trust")
VARIABLE = REFUSED.format(r"would read your environment[^\n]*--trust")


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study of two runs, one of them finished, and what belongs to nobody but the user."""
    folder = tmp_path_factory.mktemp("honest")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main([*TINY, "seed=0", "name=stranger"]) == 0
        assert main(["extend", "results/stranger", "seeds=+1"]) == 0
        assert main([*TINY, "seed=5", "name=mine"]) == 0
    finally:
        os.chdir(before)
    return folder


class Scene:
    """The working folder of a user who was sent ``results/stranger``; ``precious`` is his."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.study = folder, folder / "results" / "stranger"
        self.run = next((self.study / "runs").glob("*-s0-*"))
        self.mine, self.precious = folder / "results" / "mine", folder / "precious"
        (self.precious / "checkpoint").mkdir(parents=True)
        for name in ("metrics.jsonl", "key.csv", "checkpoint/00000001.pt", "status.json"):
            (self.precious / name).write_text("precious\n")
        for path in (self.study / "plan.json", *self.study.glob("runs/*/status.json")):
            content = json.loads(path.read_text())  # as older versions wrote it: no digest tells
            kept = {key: x for key, x in content.items() if key not in ("digest", "digests")}
            path.write_text(json.dumps(kept))
        self.marker = folder / "executed"
        evil = f"open({str(self.marker)!r}, 'w').close()\nclass X: pass\n"
        for place in (self.study, self.run, folder):
            (place / "evil.py").write_text(evil)
        self.untouched = self._state()

    def _state(self) -> list[tuple[str, bytes, int]]:
        paths = sorted(path for path in self.precious.rglob("*") if path.is_file())
        return [(str(p), p.read_bytes(), p.stat().st_mtime_ns) for p in paths]

    def is_unharmed(self) -> bool:
        """Return whether no code ran and nothing of the user has changed."""
        return not self.marker.exists() and self._state() == self.untouched

    def edit(self, path: Path, key: str, value: Any) -> None:
        """Set one dotted key of a JSON file."""
        content: Any = json.loads(path.read_text())
        *parents, last = [int(part) if part.isdigit() else part for part in key.split(".")]
        node = content
        for part in parents:
            node = node[part]
        node[last] = value
        path.write_text(json.dumps(content))

    def in_run(self, key: str, value: Any) -> None:
        self.edit(self.run / "run.json", key, value)

    def in_plan(self, key: str, value: Any) -> None:
        """Set a key of the plan; ``config`` is that of its one cell."""
        plan = self.study / "plan.json"
        (cell,) = json.loads(plan.read_text())["cells"]
        self.edit(plan, key.replace("config", f"cells.{cell}.config", 1), value)

    def in_status(self, key: str, value: Any) -> None:
        self.edit(self.run / "status.json", key, value)

    def link(self, inside: Path, target: Path) -> None:
        """Replace something in the study by a link."""
        if inside.is_dir() and not inside.is_symlink():
            shutil.rmtree(inside)
        inside.unlink(missing_ok=True)
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.symlink_to(target)

    def pipe(self, inside: Path) -> None:
        """Replace a file of the study by a pipe, which nobody ever writes to."""
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.unlink(missing_ok=True)
        os.mkfifo(inside)


class Loads:
    """Writes the marker when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return open, (str(self.marker), "w")


def pickled_weights(scene: Scene) -> None:
    (scene.run / "weights.pt").write_bytes(pickle.dumps(Loads(scene.marker)))


def zipped_weights(scene: Scene) -> None:
    """Write weights in torch's own layout, in which the pickle is hostile."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"w": Loads(scene.marker)}, 2))
        archive.writestr("archive/version", "3\n")
    (scene.run / "weights.pt").write_bytes(data.getvalue())


def pickled_arrays(scene: Scene) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in ("grid", "q"):
            header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
            header = header.ljust(117) + b"\n"
            start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
            archive.writestr(f"{name}.npy", start + header + pickle.dumps([Loads(scene.marker)]))
    (scene.run / "arrays").mkdir(exist_ok=True)
    (scene.run / "arrays" / "result.npz").write_bytes(data.getvalue())


def numbers_as_weights(scene: Scene) -> None:
    torch.save(5, scene.run / "weights.pt")


def odd_arrays(scene: Scene) -> None:
    (scene.run / "arrays").mkdir(exist_ok=True)
    arrays = {"q": np.zeros((2, 2)), "moves": [[0, 1], [1, 0]], "reachable": [1, 1]}
    np.savez(scene.run / "arrays" / "result.npz", grid=[10**9, 10**9], **arrays)


def pickled_checkpoint(scene: Scene) -> None:
    from prism.benchmark.store.checkpoint import _digest

    payload = pickle.dumps(Loads(scene.marker))
    run = json.loads((scene.study / "plan.json").read_text())["runs"][1]
    folder = scene.study / "jobs" / run["job_id"] / "checkpoint"
    folder.mkdir(parents=True)
    (folder / "00000001.pt").write_bytes(_digest(payload).encode() + b"\n" + payload)


def stale_lease(scene: Scene) -> None:
    """Leave the lease of a dead process, whose name leads to a file of the user."""
    run = json.loads((scene.study / "plan.json").read_text())["runs"][1]
    lease = {
        **{"mark": "m", "job_id": "../../../precious/status", "runs": [run["run_id"]]},
        **{"host": os.uname().nodename, "pid": 1, "born": "0", "beat": 0, "engine": None},
    }
    (scene.study / "leases").mkdir(exist_ok=True)
    (scene.study / "leases" / "x.json").write_text(json.dumps(lease))


def manifest(scene: Scene) -> None:
    """Let an old report list a file of the user, in a folder that is a link to it."""
    report = scene.study / "report"
    report.mkdir()
    (report / "written.json").write_text('["tables/key.csv", "tables/..", "../../x"]')
    scene.link(report / "tables", scene.precious)


def wrapped(name: str) -> list[dict[str, str]]:
    return [{"class": name}]


EVIL, IMPORT = "results.stranger.evil:X", "results.stranger.evil"
EVALUATE = ["evaluate", "{run}", "--episodes", "1"]
RESUME, DRY = ["resume", "{study}"], ["resume", "{study}", "dry_run=true"]
EXTEND, STATUS = ["extend", "{study}", "seeds=+1"], ["status", "{study}"]
MERGE, DELETE = ["merge", "results/mine", "{study}"], ["delete", "{study}", "--yes"]
AGENT, IMPORTS, SINKS = "config.algo.agent", "config.env.imports", "config.tracking.sinks"
EXTRA, KWARGS = "config.env.wrappers.extra", "config.env.kwargs"
REFERENCE = "${oc.env:PLUGH}"


@dataclass
class Attack:
    """One attack: how the folder is made hostile, the command, and what it must answer."""

    name: str
    make: Callable[[Scene], object]
    words: list[str]
    answer: str = ""  # a pattern of all that is said; "" for any single line
    code: int = 2
    more: Callable[[Scene, str], bool] = field(default=lambda scene, said: True)


def name_is(text: str) -> str:
    return REFUSED.format(re.escape(text) + r"[^\n]*is not the name of a file or folder")


LINK = REFUSED.format("is a link")
REGULAR = REFUSED.format("is not a regular file")
SHOWN = r"\A[^\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]*\Z"
ATTACKS = [
    # code
    Attack("agent, evaluate", lambda s: s.in_run(AGENT, EVIL), EVALUATE, CODE),
    Attack("agent, video", lambda s: s.in_run(AGENT, EVIL), ["video", "{run}"], CODE),
    Attack("agent, resume", lambda s: s.in_plan(AGENT, EVIL), RESUME, CODE),
    Attack("agent, dry run", lambda s: s.in_plan(AGENT, EVIL), DRY, CODE),
    Attack("agent, extend", lambda s: s.in_plan(AGENT, EVIL), EXTEND, CODE),
    Attack("agent, submit", lambda s: s.in_plan(AGENT, EVIL), ["submit", *RESUME], CODE),
    Attack("agent, config", lambda s: s.in_plan(AGENT, EVIL), [*RESUME, "--cfg", "job"], CODE),
    Attack("agent here", lambda s: s.in_run(AGENT, "evil:X"), EVALUATE, CODE),
    Attack("agent of a library", lambda s: s.in_run(AGENT, "os:system"), EVALUATE, CODE),
    Attack("agent is a list", lambda s: s.in_run(AGENT, [EVIL]), EVALUATE),
    Attack("imports, evaluate", lambda s: s.in_run(IMPORTS, IMPORT), EVALUATE, CODE),
    Attack("imports, dry run", lambda s: s.in_plan(IMPORTS, IMPORT), DRY, CODE),
    Attack("imports, extend", lambda s: s.in_plan(IMPORTS, IMPORT), EXTEND, CODE),
    Attack("id with a module", lambda s: s.in_run("config.env.id", "evil:X-v0"), EVALUATE),
    Attack("wrapper, evaluate", lambda s: s.in_run(EXTRA, wrapped(EVIL)), EVALUATE, CODE),
    Attack("wrapper, resume", lambda s: s.in_plan(EXTRA, wrapped(EVIL)), RESUME, CODE),
    Attack("wrapper is a text", lambda s: s.in_run(EXTRA, EVIL), EVALUATE),
    Attack("tracker, resume", lambda s: s.in_plan(SINKS, [EVIL]), RESUME, CODE),
    Attack(
        "_target_ of the environment",
        lambda s: s.in_run(KWARGS, {"_target_": "evil.X", "_args_": [1]}),
        EVALUATE,
    ),
    Attack("_target_ of the agent", lambda s: s.in_plan("config.algo._target_", EVIL), DRY),
    Attack("pickle as weights", pickled_weights, EVALUATE, REFUSED.format("is damaged")),
    Attack("pickle in weights", zipped_weights, EVALUATE, REFUSED.format("is damaged")),
    Attack(
        "pickle in arrays",
        pickled_arrays,
        ["report", "{study}"],
        "arrays/result.npz cannot be read",
        0,
    ),
    Attack("weights are a number", numbers_as_weights, EVALUATE, REFUSED.format("not of this")),
    Attack("arrays of other shapes", odd_arrays, ["report", "{study}"], "report: ", 0),
    Attack("pickle in a checkpoint", pickled_checkpoint, RESUME, "", 1),
    # the environment
    Attack(
        "variable, evaluate", lambda s: s.in_run(KWARGS, {"render_mode": REFERENCE}), EVALUATE,
        VARIABLE,
    ),
    Attack("variable, dry run", lambda s: s.in_plan("config.env.id", REFERENCE), DRY, VARIABLE),
    Attack(
        "variable, config", lambda s: s.in_plan("config.algo.label", f"a {REFERENCE}"),
        [*RESUME, "--cfg", "job"], VARIABLE,
    ),
    Attack(
        "variable in a label",
        lambda s: s.in_plan("runs.0.variant.label", REFERENCE), STATUS, r"\$\{oc\.env:PLUGH\}", 0,
    ),
    Attack(
        "other interpolation",
        lambda s: s.in_plan("config.env.score_source", "${oc.decode:1} ${algo.lr"),
        [*DRY, "stale=keep"], "", 0,
    ),
    # paths
    Attack(
        "run id up, merge",
        lambda s: s.in_plan("runs.0.run_id", "../../precious"), MERGE, name_is("../../precious"),
    ),
    Attack(
        "absolute run id, resume",
        lambda s: s.in_plan("runs.1.run_id", str(s.precious)), RESUME, name_is("runs.1.run_id"),
    ),
    Attack(
        "job id up, resume",
        lambda s: s.in_plan("runs.1.job_id", "../../../precious"), RESUME, name_is("precious'"),
    ),
    Attack(
        "job id up, record",
        lambda s: s.in_run("job_id", "../../../precious"), EVALUATE, name_is("../precious'"),
    ),
    Attack("study up, merge", lambda s: s.in_plan("study", "../mine"), MERGE, name_is("../mine")),
    Attack("lease up, resume", stale_lease, RESUME, "is not the name of a file or folder", 0),
    Attack(
        "linked jobs, prune",
        lambda s: s.link(s.study / "jobs" / "x", s.precious), ["prune", "{study}", "--yes"], LINK,
    ),
    Attack("linked runs, resume", lambda s: s.link(s.study / "runs", s.precious), RESUME, LINK),
    Attack(
        "linked rows, resume",
        lambda s: s.link(s.run / "metrics.jsonl", s.precious / "metrics.jsonl"), RESUME, LINK,
    ),
    Attack(
        "linked key, merge",
        lambda s: s.link(s.run / "notes.txt", s.precious / "key.csv"), MERGE, LINK,
        more=lambda s, said: not list(s.folder.glob("results/mine/**/notes.txt")),
    ),
    Attack(
        "linked study, delete", lambda s: s.link(s.study, s.mine), DELETE, LINK,
        more=lambda s, said: (s.mine / "plan.json").is_file(),
    ),
    Attack(
        "linked study, rename",
        lambda s: s.link(s.study, s.mine), ["rename", "{study}", "new"], LINK,
        more=lambda s, said: json.loads((s.mine / "plan.json").read_text())["study"] == "mine",
    ),
    Attack(
        "linked study, resume", lambda s: s.link(s.study, s.mine), [*RESUME, "stale=rerun"], LINK
    ),
    Attack("linked folder, extend", lambda s: s.link(s.study / "x", s.precious), EXTEND, LINK),
    Attack(
        "linked report, report",
        lambda s: s.link(s.study / "report", s.precious), ["report", "{study}"], LINK,
    ),
    Attack("linked tables, report", manifest, ["report", "{study}"], LINK),
    Attack(
        "linked media, video", lambda s: s.link(s.run / "media", s.precious), ["video", "{run}"],
        LINK,
    ),
    Attack(
        "linked plan, push",
        lambda s: s.link(s.study / "code" / "a.diff", s.precious / "key.csv"),
        ["wandb-push", "{study}"], LINK,
    ),
    Attack(
        "environment up, tensorboard",
        lambda s: (s.in_plan("runs.0.env", ".."), s.in_run("env", "..")),
        ["tensorboard", "{study}"], "", 0,
        lambda s, said: not list(s.study.glob("DQN")) and not list(s.folder.glob("results/DQN")),
    ),
    # pipes and depth
    Attack("pipe as plan", lambda s: s.pipe(s.study / "plan.json"), STATUS, REGULAR),
    Attack(
        "pipe as plan, report",
        lambda s: (s.pipe(s.study / "x"), s.pipe(s.study / "plan.json")), RESUME, REGULAR,
    ),
    Attack(
        "pipe as status", lambda s: s.pipe(s.run / "status.json"), STATUS, "not a regular file", 0
    ),
    Attack(
        "pipe as rows, report", lambda s: s.pipe(s.run / "metrics.jsonl"), ["report", "{study}"],
        REFUSED.format("metrics.jsonl is not a regular file"),
    ),
    Attack("pipe as weights", lambda s: s.pipe(s.run / "weights.pt"), EVALUATE, REGULAR),
    Attack(
        "pipe in a sibling, dry run", lambda s: s.pipe(s.run / "timing.jsonl"),
        [*TINY, "seed=7", "dry_run=true"], "1 to do", 0,
    ),
    Attack("pipe as stop", lambda s: s.pipe(s.study / "stop"), RESUME, REGULAR),
    Attack(
        "pipe as log", lambda s: s.pipe(s.study / "jobs" / "j" / "log.txt"), ["logs", "{study}"],
        REGULAR,
    ),
    Attack(
        "deep plan", lambda s: (s.study / "plan.json").write_text('{"a":' * 10**5), STATUS,
    ),
    Attack(
        "deep config", lambda s: s.in_run("config.env", json.loads("[" * 50 + "]" * 50)), EVALUATE,
        REFUSED.format("nested deeper"),
    ),
    # what is shown
    Attack("orders in a label", lambda s: s.in_plan("runs.0.variant.label", ESC), STATUS),
    Attack("reordered text", lambda s: s.in_plan("runs.0.env", BIDI), STATUS),
    Attack("two lines", lambda s: s.in_plan("runs.0.env", "a\nerror: b"), STATUS),
    Attack(
        "orders in a reason",
        lambda s: (s.in_status("reason", ESC), s.in_status("state", "failed")), STATUS, SHOWN, 0,
    ),
    Attack(
        "orders in a log",
        lambda s: (s.run / "error.txt").write_text(ESC), ["logs", "{study}"], SHOWN, 0,
    ),
    Attack(
        "orders in a folder's name",
        lambda s: (s.study / "runs" / f"x{ESC}").mkdir(), ["report", "{study}"], SHOWN, 0,
    ),
    Attack(
        "a name with orders", lambda s: None, ["rename", "{study}", f"a{ESC}"],
        REFUSED.format("is not the name of a folder"),
    ),
]  # fmt: skip


@pytest.fixture
def scene(honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Return the scene in the working folder; a command that waits for ever is ended."""
    folder = tmp_path / "work"
    shutil.copytree(honest, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PLUGH", SECRET)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("prism.benchmark.launch.cost.TRIAL", 0.01)

    def late(*_: object) -> None:
        raise TimeoutError("the command waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield Scene(folder)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    for name in [name for name in sys.modules if name in ("evil", "mine") or "stranger" in name]:
        del sys.modules[name]


def said(words: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capfd.readouterr()
    try:
        code = main(words)
    finally:
        told = "".join(reversed(capfd.readouterr()))
    return code, told


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_hostile_folder_stays_data(attack, scene, capfd):
    if attack.words[0] == "tensorboard":
        pytest.importorskip("tensorboard")
    attack.make(scene)
    places = {"run": scene.run, "study": scene.study}
    code, told = said([word.format(**places) for word in attack.words], capfd)
    assert code == attack.code, told
    assert re.search(attack.answer or (REFUSED.format("") if code == 2 else ""), told), told
    assert SECRET not in told and "Traceback" not in told and "fault of Prism" not in told
    assert "\x1b" not in told
    assert scene.is_unharmed()
    assert attack.more(scene, told)


def test_there_are_forty_attacks():
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 40


def test_the_attacks_would_be_seen(scene, capfd):
    """The same folder does harm once its user says that he trusts it."""
    scene.in_run(AGENT, EVIL)
    code, told = said(["evaluate", str(scene.run), "--trust"], capfd)
    assert code == 2 and "lacks Config" in told
    assert not scene.is_unharmed()


def test_a_folder_name_refers_to_nothing(scene, capfd):
    odd = scene.study.with_name("a 'b\\ ${oc.env:PLUGH}")
    scene.study.rename(odd)
    code, told = said(["resume", str(odd), "dry_run=true"], capfd)
    assert code == 0 and SECRET not in told and "1 finished" in told


def test_the_working_directory_installs_nothing(scene):
    evil = (scene.folder / "evil.py").read_text()
    for name in ("hydra_plugins/evil.py", "wandb_workspaces.py", "ale_py.py", "tensorboard.py"):
        (scene.folder / name).parent.mkdir(exist_ok=True)
        (scene.folder / name).write_text(evil)
    info = scene.folder / "evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[prism.agents]\nevil_agent = evil:X\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    evaluate = ["evaluate", str(scene.run), "--episodes", "1"]
    for words in (["prism", "list", "algos"], ["benchmark", *evaluate]):
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and "evil" not in done.stdout, done.stderr
    assert scene.is_unharmed()


MINE = "from prism.algos.dqn.dqn import DQN\n\n\nclass Mine(DQN):\n    pass\n"


def test_who_names_a_module_goes_on_without_a_word(scene, capfd):
    """The user's own agent, in the working folder: launched, extended, resumed, moved, played."""
    (scene.folder / "mine.py").write_text(MINE)
    assert main([*TINY, "algo.agent=mine:Mine", "name=own"]) == 0
    own = scene.folder / "results" / "own"
    assert main(["extend", str(own), "seeds=+1"]) == 0
    assert main(["resume", str(own)]) == 0
    assert main(["rename", str(own), "other"]) == 0
    (run,) = (scene.folder / "results" / "other").glob("runs/*-s1-*")
    assert main(["evaluate", str(run), "--episodes", "1"]) == 0
    copy = scene.folder / "results" / "copy"
    shutil.copytree(run.parents[1], copy)
    words = ["evaluate", str(copy / "runs" / run.name), "--episodes", "1"]
    code, told = said(words, capfd)
    assert code == 2 and re.search(CODE, told)
    assert said([*words, "--trust"], capfd)[0] == 0
    assert said(["resume", str(copy), "dry_run=true"], capfd)[0] == 2  # --trust is not for ever


def test_another_file_of_the_name_is_another_module(scene, capfd, tmp_path):
    (scene.folder / "mine.py").write_text(MINE)
    assert main([*TINY, "algo.agent=mine:Mine", "name=own"]) == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.py").write_text((scene.folder / "evil.py").read_text())
    sys.path.insert(0, str(elsewhere))
    del sys.modules["mine"]
    code, told = said(["resume", str(scene.folder / "results" / "own"), "dry_run=true"], capfd)
    assert code == 2 and re.search(CODE, told)
    assert scene.is_unharmed()


def test_what_the_own_config_folder_names_loads(scene, capfd, tmp_path, monkeypatch):
    (scene.folder / "mine.py").write_text(MINE)
    scene.in_run(AGENT, "mine:Mine")
    assert said(["evaluate", str(scene.run), "--episodes", "1"], capfd)[0] == 2
    preset = tmp_path / "conf" / "algo" / "own.yaml"
    preset.parent.mkdir(parents=True)
    preset.write_text("defaults: [/schema/dqn@_here_, _self_]\nname: own\nagent: mine:Mine\n")
    monkeypatch.setenv("PRISM_CONF", str(tmp_path / "conf"))
    assert said(["evaluate", str(scene.run), "--episodes", "1"], capfd)[0] == 0


def test_a_broken_record_of_launches_trusts_nothing(scene, capfd, tmp_path):
    record = tmp_path / "state" / "prism" / "launched.json"
    record.parent.mkdir(parents=True)
    scene.in_run(AGENT, EVIL)
    for content in ("{", "[]", '{"a": 5}', json.dumps({str(scene.study): [f"algo.agent={EVIL}"]})):
        record.write_text(content)
        assert said(["evaluate", str(scene.run)], capfd)[0] == 2
    assert scene.is_unharmed()


def test_an_honest_study_needs_no_word_and_leaves_no_record(scene, tmp_path):
    assert main(["evaluate", str(scene.run), "--episodes", "1"]) == 0
    assert main(["resume", str(scene.study)]) == 0
    assert not (tmp_path / "state").exists()
    with trust.granted(everything=False):
        assert not trust.everything()
