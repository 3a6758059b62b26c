"""The commands that check environments and agents."""

from pathlib import Path

import pytest

from prism.benchmark.cli.main import main


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_check_env_prints_checks_and_what_agents_see(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-env", "tests.envs.broken:Broken/Sound-v0"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "Broken/Sound-v0"
    assert [line.split()[:2] for line in lines[1:6]] == [
        ["ok", name] for name in ("returns", "observations", "ends", "seeding", "stepping")
    ]
    can = out[out.index("can learn it") : out.index("cannot")]
    assert " dqn," in can and " sac," not in can
    assert "sac, td3: it needs continuous actions" in out
    assert not list(Path().iterdir())  # it writes nothing


def test_check_env_ends_in_1_where_something_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-env", "tests.envs.broken:Broken/Unseeded-v0", "env.horizon=20"]) == 1
    out = capsys.readouterr().out
    assert "  WRONG  seeding" in out and "time limit      20 steps" in out


def test_check_agent_prints_a_line_per_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine" / "algo"
    folder.mkdir(parents=True)
    text = "agent: tests.train.sound:{}\nname: sound\nlanes: 2\nreset: each\n"
    for name in ("Sound", "StopsAtTruncation"):
        (folder / f"{name.lower()}.yaml").write_text(text.format(name))
    monkeypatch.setenv("PRISM_CONF", "")
    common = ["--config-dir", str(tmp_path / "mine")]
    assert main(["check-agent", "algo=sound", *common]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "sound on cartpole"
    assert [line.split()[0] for line in out[1:]] == ["ok"] * 11
    assert main(["check-agent", "algo=stopsattruncation", "env=cartpole", *common]) == 1
    assert "  WRONG  truncation" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["check-env"], "required: env"),
        (["check-env", "env.horizon=3"], "check-env takes the environment first"),
        (["check-env", "CartPol-v1"], "nearest: CartPole-v1"),
        (["check-env", "tests.envs.broken:Broken/Endless-v0"], "env.horizon"),
        (["check-agent", "env=cartpole"], "check-agent takes an algorithm"),
        (["check-agent", "algo=dqn,c51"], "one algorithm, one environment and no grid"),
        (["check-agent", "algo=sac", "env=cartpole"], "it needs continuous actions"),
        (["check-agent", "algo=dqm"], "nearest: dqn"),
    ],
)
def test_bad_input(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert text in err and err.count("\n") == 1
