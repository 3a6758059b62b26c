"""Completion: what a line may become, and the scripts in real shells."""

import shutil
import subprocess

import pytest

from prism.benchmark.cli import complete
from prism.benchmark.cli.main import _COMMANDS, main


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PRISM_CONF", "")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("prism al", ["algo.", "algo="]),
        ("prism algo=rain", ["algo=rainbow"]),
        ("prism algo=dqn,c5", ["algo=dqn,c51"]),
        ("prism algo=dqn env=acro", ["env=acrobot"]),
        ("prism stat", ["status"]),
        ("prism repo", ["report"]),
        ("prism study=quick", ["study=quickstart"]),
        ("prism study quick", ["quickstart"]),
        ("prism help algo=sarsa_", ["algo=sarsa_lambda"]),
        ("prism list s", ["studies"]),
        ("prism run algo=dqn hydra/launcher=sl", ["hydra/launcher=slurm"]),
        ("prism algo=dqn evaluation.epi", ["evaluation.episodes="]),
        ("prism algo=ppo algo.clip_v", ["algo.clip_value="]),
        ("prism algo=dqn algo.clip_v", []),  # not of this agent
        ("prism algo=dqn algo.exploration.fr", ["algo.exploration.fraction="]),
        ("prism algo=dqn budg", ["budget="]),
        ("prism algo=dqn components=add", ["components=add_one_in"]),
        ("prism status resul", []),  # folders are the shell's
    ],
)
def test_what_a_line_may_become(line, words):
    assert complete.candidates(line) == words


def test_names_of_a_folder_of_ones_own_are_offered(tmp_path, monkeypatch):
    (tmp_path / "mine" / "algo").mkdir(parents=True)
    (tmp_path / "mine" / "algo" / "zebra.yaml").write_text("name: zebra")
    monkeypatch.setenv("PRISM_CONF", str(tmp_path / "mine"))
    assert complete.candidates("prism algo=z") == ["algo=zebra"]


def test_every_command_is_offered():
    assert set(complete.COMMANDS) == set(_COMMANDS)


def test_keys_are_kept_until_the_code_changes(cache, monkeypatch):
    complete.candidates("prism budg")
    (kept,) = (cache / "cache" / "prism").iterdir()
    kept.write_text('{"root": ["budgie"], "algo": {}}')
    assert complete.candidates("prism budg") == ["budgie="]
    monkeypatch.setattr(complete, "_state_of_code", lambda: "newer")
    assert complete.candidates("prism budg") == ["budget="]
    assert [path.name for path in kept.parent.iterdir()] == ["keys-newer.json"]


def in_shell(shell: str, script: str, tmp_path) -> str:
    fake = tmp_path / "bin" / "prism"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nprintf '%s\\n' algo=dqn algo=dyna_q algo.\n")
    fake.chmod(0o755)
    done = subprocess.run(
        [shell, "-c", script],
        env={"PATH": f"{fake.parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_bash_gets_what_is_behind_the_equals_sign(tmp_path):
    script = (
        complete.BASH
        + "compopt() { echo nospace; }; COMP_LINE='prism algo=d'; COMP_POINT=12; _prism;"
        + 'printf "%s\\n" "${COMPREPLY[@]}"; complete -p prism'
    )
    out = in_shell("bash", script, tmp_path).splitlines()
    assert out == ["dqn", "dyna_q", "algo.", "complete -o default -F _prism prism"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_gets_whole_words(tmp_path):
    script = (
        "compdef() { :; }; compadd() { echo $@; }\n" + complete.ZSH + "LBUFFER='prism al'; _prism"
    )
    assert in_shell("zsh", script, tmp_path).splitlines() == [
        "-- algo=dqn algo=dyna_q",
        "-S  -- algo.",
    ]


def test_the_scripts_are_printed(capsys):
    assert complete.main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out == complete.ZSH
    assert main(["completion", "fish"]) == 2
    assert "bash or zsh" in capsys.readouterr().err
