"""The boundary: whatever the user or the machine does wrong is one line and exit code 2."""

import errno
import fcntl
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prism.analysis.cli import main as read
from prism.benchmark.cli.main import main as train
from prism.benchmark.cli.texts import READERS
from prism.benchmark.plan.places import FOLDERS_VARIABLE
from prism.benchmark.store import ledger, records
from prism.benchmark.util import boundary
from prism.cli import main

STUDY = ["algo=q_learning", "env=frozenlake", "budget=60", "evaluation.episodes=1", "seed=0,1"]
STUDY += ["tracking=disabled", "name=lake"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small finished study."""
    folder = tmp_path_factory.mktemp("made")
    assert train([*STUDY, f"results={folder}", "hydra/launcher=inline"]) == 0
    return folder / "lake"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, lake):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(lake, tmp_path / "results" / "lake")
    shutil.copytree(lake, tmp_path / "results" / "other")
    monkeypatch.delenv(boundary.TRACEBACK_VARIABLE, raising=False)
    monkeypatch.setenv(FOLDERS_VARIABLE, "")  # what --config-dir sets is put back


def answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command; whatever it says on stderr is one line."""
    code = (read if words[0] in READERS else train)(words)
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert err.count("\n") == (code == 2), err
    return code, err


def refuse(
    monkeypatch: pytest.MonkeyPatch, number: int, folder: str, names: dict[Any, tuple[str, ...]]
) -> None:
    """Let the system refuse calls that concern what is below a folder."""

    def refusing(call: Callable[..., Any], writes: bool) -> Callable[..., Any]:
        def wrapped(path: Any, *args: Any, **more: Any) -> Any:
            mode = str(args[0] if args else more.get("mode", "r"))
            inside = isinstance(path, str | os.PathLike) and folder in str(Path(path).absolute())
            if inside and (not writes or set(mode) & set("wax")):
                raise OSError(number, os.strerror(number), str(path))
            return call(path, *args, **more)

        return wrapped

    for module, calls in names.items():
        for call in calls:
            opens = call == "open" and module is io and "mkdir" in names.get(os, ())
            monkeypatch.setattr(module, call, refusing(getattr(module, call), opens))


def no_writing(number: int) -> Callable[[pytest.MonkeyPatch], None]:
    def fault(monkeypatch: pytest.MonkeyPatch) -> None:
        calls = {io: ("open",), os: ("mkdir", "rename", "replace", "unlink", "rmdir")}
        refuse(monkeypatch, number, "/results/lake", calls)

    return fault


def no_reading(of: str) -> Callable[[pytest.MonkeyPatch], None]:
    def fault(monkeypatch: pytest.MonkeyPatch) -> None:
        calls = {io: ("open",), os: ("stat", "listdir", "scandir")}
        refuse(monkeypatch, errno.EACCES, f"/results/lake{of}", calls)

    return fault


def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: Any, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)


FAULTS = {  # the machine's fault -> how it comes about, and what the line says
    "read-only": (no_writing(errno.EROFS), "Read-only file system"),
    "another user's": (no_writing(errno.EACCES), "Permission denied"),
    "no inodes": (no_writing(errno.ENOSPC), "no space or no inodes"),
    "no locks": (no_locks, "no locks"),
    "runs unreadable": (no_reading("/runs/"), "Permission denied"),
    "unreadable": (no_reading("/plan.json"), "Permission denied"),
}
WRITING = {"read-only", "another user's", "no inodes"}
COMMANDS = {  # the command -> the faults that it cannot live with; with others it may end too
    "status results/lake": {"runs unreadable", "unreadable"},
    "resume results/lake": {*WRITING, "no locks", "runs unreadable", "unreadable"},
    "resume results/lake dry_run=true": {"runs unreadable", "unreadable"},
    "stop results/lake": {*WRITING, "unreadable"},
    "extend results/lake seeds=+1": {*WRITING, "no locks", "unreadable"},
    "rename results/lake new": {*WRITING, "unreadable"},
    "delete results/lake --yes": {*WRITING, "unreadable"},
    "merge results/lake results/other": {*WRITING, "runs unreadable", "unreadable"},
    "table results/lake": {"runs unreadable", "unreadable"},
    "export results/lake --out results/lake/out": {*WRITING, "runs unreadable", "unreadable"},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_the_machine_refuses_is_one_line(command, fault, monkeypatch, capsys):
    make, told = FAULTS[fault]
    with monkeypatch.context() as patch:
        make(patch)
        code, err = answer(command.split(), capsys)
    if fault in COMMANDS[command]:
        assert code == 2
        assert err.startswith("error: ") and told in err and "results/lake" in err
        assert "fault of Prism" not in err
    else:
        assert code in (0, 2)


def test_an_owner_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "x"))
    assert boundary.line(error).startswith(f"{tmp_path}/x: Permission denied: {tmp_path} belongs")


def test_a_fault_of_prism_is_one_line_that_says_where(monkeypatch, capsys):
    def broken(folder: Path) -> None:
        raise KeyError("budget")

    monkeypatch.setattr(ledger, "read_plan", broken)
    monkeypatch.setenv("SERVICE_TOKEN", "planted-in-the-environment")
    code, err = answer(["stop", "results/lake"], capsys)
    assert code == 2
    assert err.startswith("error: a fault of Prism: KeyError: 'budget' (test_boundary.py:")
    monkeypatch.setenv(boundary.TRACEBACK_VARIABLE, "1")
    assert main(["stop", "results/lake"]) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status results/lake", "table results/lake"])
def test_ctrl_c_ends_without_a_traceback(command, monkeypatch, capsys):
    def interrupted(text: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("json.loads", interrupted)
    assert main(command.split()) == 130
    assert capsys.readouterr().err == "interrupted\n"


FILES = {  # a study's file -> what is said of it
    "name: x\ngrid: {algo: dqn, env: cartpole}\n": "'# @package _global_' is missing",
    "# @package _global_\nalgo: dqn\nenv: cartpole\n": "algo belongs under grid:",
    "# @package _global_\nenv: [cartpole, acrobot]\n": "env belongs under grid:",
    "# @package _global_\n- dqn\n": "a study is a mapping of keys",
    "# @package _global_\nname: [x\n": ":3: is not YAML: expected ',' or ']'",
    "# @package _global_\nname: \xff\n": "is not text in UTF-8",
    "# @package _global_\nbudget: 1.5\n": "budget=1.5 must be a whole number",
}


@pytest.mark.parametrize("text", FILES, ids=FILES.values())
def test_a_mistake_in_a_study_file_is_named(text, tmp_path, capsys):
    (tmp_path / "own" / "study").mkdir(parents=True)
    (tmp_path / "own" / "study" / "mine.yaml").write_bytes(text.encode("latin-1"))
    code, err = answer(["-cd", "own", "study=mine", "dry_run=true"], capsys)
    assert code == 2 and FILES[text] in err and "mine.yaml" in err


def test_a_broken_file_of_another_group_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "own" / "algo").mkdir(parents=True)
    (tmp_path / "own" / "algo" / "mine.yaml").write_text("a: [\n")
    code, err = answer(["-cd", "own", "algo=mine", "env=cartpole"], capsys)
    assert code == 2 and "own/algo/mine.yaml:2: is not YAML" in err


WORDS = {  # words -> what is said of them
    "algo = dqn env = cartpole": "algo: write algo=<value>, without spaces around =",
    "algo=dqn env=cartpole name = x": "cannot read 'name': write <key>=<value>, without spaces",
    "algo=dqn env=cartpole seed=range(0,10": "cannot read 'seed=range(0,10': a ( or ) has no",
    "algo=dqn env=cartpole name=a&b": "needs quotes of its own: name='a&b'",
    "algo=dqn env=cartpole name=it's": 'needs quotes of its own: name="it\'s"',
    "algo=dqn env=cartpole budget=1.5": "budget=1.5 must be a whole number",
    "logs results/lake nosuch": "no output from jobs matching nosuch; jobs are: q-learning",
    "logs results/lake frozenlake-s9": "nearest: q-learning-frozenlake-s",
}


@pytest.mark.parametrize("words", WORDS)
def test_a_mistyped_word_is_one_plain_line(words, capsys):
    code, err = answer(words.split(" "), capsys)
    assert code == 2 and WORDS[words] in err


@pytest.mark.parametrize("which", ["job", "hydra", "all"])
@pytest.mark.parametrize("words", [STUDY, ["study=quickstart"], ["resume", "results/lake"]])
def test_every_config_that_is_documented_is_shown(words, which, capsys):
    code, _ = answer([*words, "--cfg", which], capsys)
    assert code == 0


def test_a_whole_number_may_be_written_as_a_power_of_ten(capsys):
    words = ["algo=dqn", "env=cartpole", "budget=1e5", "algo.hidden=[1e2,64]", "--cfg", "job"]
    assert answer(words, capsys)[0] == 0


@pytest.mark.parametrize("part", ["algo", "env", "evaluation"])
def test_a_key_that_only_another_version_has_is_named(part, capsys):
    plan = records.read_json(Path("results/lake/plan.json"))
    for cell in plan["cells"].values():
        cell["config"][part]["horizn"] = 3
    records.write_json(Path("results/lake/plan.json"), plan)
    for command in ("resume results/lake", "extend results/lake seeds=+1"):
        code, err = answer(command.split(), capsys)
        assert code == 2 and f"error: {part}.horizn: no such key here" in err
        assert "of another version of Prism" in err


def test_a_single_run_takes_the_options_of_a_launcher(tmp_path, capsys):
    words = [*STUDY[:-1], "seed=3", "name=one", "hydra.launcher.n_jobs=2"]
    assert train([*words, "--cfg", "hydra"]) == 0
    assert "n_jobs: 2" in capsys.readouterr().out
