"""No key or token in any file of the store, wherever it came from."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from prism.analysis import cli as analysis_cli
from prism.analysis.report.tensorboard import FILE as TENSORBOARD
from prism.benchmark.cli.main import main
from prism.benchmark.envs.config import from_dict
from prism.benchmark.plan.executors import InlineOptions
from prism.benchmark.plan.grid import sweep
from prism.benchmark.store import identity, provenance
from prism.benchmark.store.job import Sweep
from prism.benchmark.store.ledger import write_plan
from prism.benchmark.train.runner import run_job
from prism.benchmark.util import secrets
from prism.benchmark.util.errors import ConfigError
from prism.benchmark.util.secrets import HIDDEN, clean, clean_text, is_secret
from tests.runs import job
from tests.tracking import leaky
from tests.tracking.runs import own_service
from tests.wandb_server import WandbServer

IN_CONFIG, IN_ENVIRONMENT, OF_WANDB = "planted-in-the-config-1", "planted/in+env=2", "3f" * 20

LEAKY = (
    *("algo=dqn", "env=gym", "env.id=Leaky-v0", "env.imports=tests.tracking.leaky"),
    *("env.ends=true", "algo.learning_starts=40"),
)


def test_no_planted_secret_is_in_any_file_of_the_store(tmp_path):
    """A worker of its own prints the secrets and breaks with them; W&B records it offline."""
    words = ["-m", *LEAKY]
    words += ["env.kwargs.api_key=${oc.env:LEAKY}", f"results={tmp_path}", "tracking=offline"]
    words += ["budget=300", "log_every=20", "evaluation.every=0"]
    words += [f"tracking.notes=with {IN_ENVIRONMENT.replace('=', chr(92) + '=')}", "seed=0,1"]
    planted = {"SERVICE_TOKEN": IN_ENVIRONMENT, "WANDB_API_KEY": OF_WANDB, "LEAKY": IN_CONFIG}
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", *words],
        env={**os.environ, **planted}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    found = {path.name for path in files}
    assert {
        "plan.json",
        "run.json",
        "error.txt",
        "status.json",
        "log.txt",
        "tracking.json",
    } <= found
    assert any(path.suffix == ".wandb" for path in files)
    for path in files:
        content = path.read_bytes()
        for secret in (IN_CONFIG, IN_ENVIRONMENT, OF_WANDB):
            assert secret.encode() not in content, path
    texts = {path.name: path.read_text() for path in files if path.suffix in (".txt", ".json")}
    assert f"opened with {HIDDEN} and {HIDDEN}" in texts["log.txt"]
    assert f"refused: https://user:{HIDDEN}@host?token={HIDDEN}" in texts["error.txt"]
    assert json.loads(texts["run.json"])["config"]["env"]["kwargs"] == {
        "api_key": "${oc.env:LEAKY}"
    }


VARIABLES = {  # secrets of the environment, by the names that make them so
    "DB_PASSWORD": "of-a-password-1",
    "DB_PW": "of-a-pw-variable-2",
    "DB_PWD": "of-a-pwd-variable-3",
    "CACHE_DSN": "of-a-dsn-variable-4",
    "PROXY_AUTH": "of-an-auth-variable-5",
    "SIM_API_KEY": "of-a-key-variable-6",
    "SERVICE_TOKEN": "of/a+token=variable-7",
    "MY_SECRET": "of-a-secret-variable-8",
    "CLOUD_CREDENTIALS": "of-credentials-9",
    "SSH_PASSPHRASE": "of-a-passphrase-10",
}
ELSEWHERE = {  # what an environment prints -> the secret in it
    "DATABASE_URL=postgres://user:of-a-url-11@host:5432/db": "of-a-url-11",
    "redis://:of-a-url-12@host": "of-a-url-12",
    "the password was of@a-url-13": "of@a-url-13",
    "and quoted of%2Fa%2Btoken%3Dvariable-7": "of%2Fa%2Btoken%3Dvariable-7",
    "Authorization: Bearer of-a-header-14": "of-a-header-14",
    "{'Authorization': 'Basic b2YtYS1oZWFkZXI='}": "b2YtYS1oZWFkZXI=",
    "GET /api?user=me&access_token=of-a-query-15": "of-a-query-15",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.c2lnbmF0dXJl": "eyJzdWIiOiIxMjM0NTYifQ",
    f"hf_{'a1' * 12}": "a1" * 12,
    f"ghp_{'b2' * 15}": "b2" * 15,
    f"AKIA{'ABCD' * 4}": "ABCD" * 4,
    f"glpat-{'c3' * 10}": "c3" * 10,
    "of-netrc-16-0123": "of-netrc-16-0123",
}


@pytest.mark.parametrize("launcher", ["local", "inline"])
def test_many_kinds_of_secrets_are_in_no_file_and_on_no_screen(tmp_path, launcher):
    """An environment prints them as it is built, in the launcher and in the job, and at its end."""
    (tmp_path / "netrc").write_text("machine host login me password of-netrc-16-0123\n")
    planted = {**VARIABLES, "LEAKY": IN_CONFIG, "DB": "amqp://me:of%40a-url-13@host"}
    planted |= {"NETRC": str(tmp_path / "netrc")}
    planted["LEAKS"] = " ".join([*VARIABLES.values(), *ELSEWHERE])
    words = [*LEAKY, "env.kwargs.api_key=${oc.env:LEAKY}", f"results={tmp_path / 'results'}"]
    words += ["tracking=offline", "budget=300", "evaluation.every=0", f"hydra/launcher={launcher}"]
    words += ["tracking.git_diff=false"]  # it may hold this file
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", *words],
        env={**os.environ, **planted}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    texts = {"the screen": done.stdout + done.stderr}
    for path in (tmp_path / "results").rglob("*"):
        if path.is_file():
            texts[str(path)] = path.read_bytes().decode("latin-1")
    secrets_ = [*VARIABLES.values(), *ELSEWHERE.values(), IN_CONFIG]
    assert len(secrets_) > 20
    for name, text in texts.items():
        assert [secret for secret in secrets_ if secret in text] == [], name
    assert f"leaks {HIDDEN}" in done.stderr and f"{HIDDEN}@host:5432/db" in done.stderr
    assert any("error.txt" in name and HIDDEN in text for name, text in texts.items())


def test_what_a_submitted_run_prints_is_clean(tmp_path, monkeypatch, capsys):
    """A single run takes place in the process that was submitted, whose output is a file."""
    start = subprocess.Popen

    def started(*words, **more):
        driver = start(*words, **more)
        driver.wait()
        return driver

    monkeypatch.setattr("prism.benchmark.cli.main.subprocess.Popen", started)
    monkeypatch.setenv("SERVICE_TOKEN", IN_ENVIRONMENT)
    monkeypatch.setenv("LEAKY", IN_CONFIG)
    words = [*LEAKY, "env.kwargs.api_key='${oc.env:LEAKY}'", f"results={tmp_path}"]
    assert main(["submit", *words, "tracking=disabled", "budget=300"]) == 0
    log = (tmp_path / "adhoc" / "launch.log").read_text()
    assert f"opened with {HIDDEN} and {HIDDEN}" in log and "NOT complete" in log
    assert IN_CONFIG not in log and IN_ENVIRONMENT not in log


def test_nothing_that_is_sent_or_exported_holds_a_secret(
    wandb_server: WandbServer, tmp_path, monkeypatch
):
    """A run that ends well sends its weights and a video; its study goes to W&B and TensorBoard."""
    monkeypatch.setattr(leaky, "STEPS", 10**9)
    key = os.environ["WANDB_API_KEY"]
    monkeypatch.setenv("LEAKY", IN_CONFIG)
    monkeypatch.setenv("SERVICE_TOKEN", IN_ENVIRONMENT)
    work = job(
        tmp_path, env="Leaky-v0", seeds=(3,), env__imports="tests.tracking.leaky",
        env__kwargs={"api_key": "${oc.env:LEAKY}"}, tracking__wandb="online",
        tracking__artifacts=True, tracking__video=True, tracking__notes=f"with {IN_ENVIRONMENT}",
        evaluation__every=80,
    )  # fmt: skip
    with own_service():
        run_job(work)
    write_plan(Sweep("test", tmp_path, jobs=[work]))
    assert analysis_cli.main(["report", str(tmp_path)]) == 0
    assert analysis_cli.main(["tensorboard", str(tmp_path)]) == 0
    assert main(["wandb-push", str(tmp_path)]) == 0
    sent = [json.dumps(x).encode() for x in wandb_server.artifacts.values()]
    sent += wandb_server.blobs.values()
    for bucket in wandb_server.runs.values():
        sent += [json.dumps(bucket.fields).encode(), bucket.summary.encode()]
        sent += [line.encode() for line in bucket.history] + list(bucket.files.values())
    assert len(wandb_server.runs) == 2 and len(wandb_server.artifacts) >= 2
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"episode.gif", "best.pt", TENSORBOARD, "index.html"} <= {path.name for path in kept}
    for content in [*sent, *kept.values()]:
        for secret in (IN_CONFIG, IN_ENVIRONMENT, key):
            assert secret.encode() not in content
    assert any(f"with {HIDDEN}".encode() in content for content in sent)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("api_key", IN_CONFIG),
        ("api_key", f"{IN_CONFIG}-${{oc.env:LEAKY}}"),
        ("api_key", "${budget}${budget}"),
        ("url", f"hf_{'a1' * 12}"),
    ],
)
def test_a_secret_that_would_be_kept_is_refused(tmp_path, monkeypatch, capsys, key, value):
    """It would stand in the records as hidden, and every later process would run with that."""
    monkeypatch.setattr(secrets, "_seen", set())
    monkeypatch.setenv("LEAKY", "of-the-environment")
    monkeypatch.setenv("SERVICE_TOKEN", IN_ENVIRONMENT)
    words = [*LEAKY, f"env.kwargs.{key}='{value}'", f"results={tmp_path / 'results'}"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error == (
        f"error: env.kwargs.{key}: this secret would be written to files; put it into an "
        f"environment variable and set env.kwargs.{key}='${{oc.env:NAME}}'\n"
    )
    assert not (tmp_path / "results").exists()


def test_a_reference_is_stored_and_revealed_where_it_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(secrets, "_seen", set())
    monkeypatch.setenv("LEAKY", IN_CONFIG)
    monkeypatch.setenv("SERVICE_TOKEN", IN_ENVIRONMENT)
    words = (*LEAKY, "env.kwargs.api_key='${oc.env:LEAKY}'", f"results={tmp_path}")
    (work,) = sweep(words).jobs
    assert work.spec.record["env"]["kwargs"] == {"api_key": "${oc.env:LEAKY}"}
    assert from_dict(work.spec.record["env"]).kwargs == {"api_key": IN_CONFIG}
    assert clean_text(f"with {IN_CONFIG}") == f"with {HIDDEN}"
    monkeypatch.setenv("LEAKY", "another-of-them")
    assert sweep(words).jobs[0].run_ids == work.run_ids
    monkeypatch.delenv("LEAKY")
    with pytest.raises(ConfigError, match=r"env\.kwargs\.api_key: .*LEAKY is not set here"):
        from_dict(work.spec.record["env"])
    hidden = work.spec.record["env"] | {"kwargs": {"api_key": HIDDEN}}
    with pytest.raises(ConfigError, match=r"env\.kwargs\.api_key is hidden in this record"):
        from_dict(hidden)
    with pytest.raises(ConfigError, match=r"env\.kwargs\.api_key: .*'LEAKY' not found"):
        sweep(words)


def test_whatever_is_read_from_the_environment_is_kept_as_its_reference(tmp_path, monkeypatch):
    """Not called like a secret, it still is in no file; as a setting it says which run it is."""
    monkeypatch.setattr(secrets, "_seen", set())
    monkeypatch.setenv("SERVICE_TOKEN", IN_ENVIRONMENT)
    monkeypatch.setenv("SIM_USER", "hunter2-very-private")
    words = (*LEAKY, "env.kwargs={who: '${oc.env:SIM_USER}', api_key: x}", f"results={tmp_path}")
    words = (*words, "tracking=disabled", "algo.label='of ${oc.env:SIM_USER}'")
    monkeypatch.setattr(leaky.Leaky, "__init__", lambda self, api_key, who, render_mode=None: None)
    plan = sweep(words)
    (work,) = plan.jobs
    assert b"hunter2" not in pickle.dumps(work)
    assert work.spec.record["env"]["kwargs"] == {"who": "${oc.env:SIM_USER}", "api_key": "x"}
    assert work.spec.record["algo"]["label"] == "of ${oc.env:SIM_USER}"
    assert from_dict(work.spec.record["env"]).kwargs["who"] == "hunter2-very-private"
    write_plan(plan)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes(), path
    protocol = identity.protocol(work.spec)[0]
    assert clean_text("a path: hunter2-very-private") == "a path: hunter2-very-private"
    monkeypatch.setenv("SIM_USER", "another-of-them")
    (other,) = sweep(words).jobs
    assert other.spec == work.spec and other.run_ids != work.run_ids
    assert identity.protocol(other.spec)[0] != protocol


def test_a_reference_to_a_setting_makes_the_id_of_its_value(monkeypatch):
    monkeypatch.setenv("MAP", "8x8")
    words = ("algo=q_learning", "env=frozenlake", "tuned=false")
    (plain,) = sweep((*words, "env.kwargs.map_name=8x8")).jobs
    (named,) = sweep((*words, "env.kwargs.map_name='${oc.env:MAP}'")).jobs
    assert named.run_ids == plain.run_ids


def test_numbers_of_the_environment_are_numbers(monkeypatch):
    monkeypatch.setenv("LR", "0.5")
    (work,) = sweep(("algo=dqn", "env=acrobot", "algo.lr='${oc.env:LR}'")).jobs
    assert work.spec.algo.lr == 0.5


@pytest.mark.parametrize(
    "name",
    [
        "WANDB_API_KEY",
        "hf_token",
        "apiKey",
        "db.password",
        "SECRET",
        "DB_PW",
        "dbPwd",
        "X_DSN",
        "P_AUTH",
    ],
)
def test_names_of_secrets(name):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    ["key", "max_tokens", "tokenizer", "keyboard", "algo.lr", "", "PWD", "OLDPWD", "SSH_AUTH_SOCK"],
)
def test_names_of_what_is_none(name):
    assert not is_secret(name)


def test_a_config_value_stays_known_and_short_ones_are_left(monkeypatch):
    monkeypatch.setattr(secrets, "_seen", set())
    config = {"label": "DQN, token=abcdefgh12", "env": [{"token": "abcdefgh12"}], "pin_token": "1"}
    hidden = {"label": f"DQN, token={HIDDEN}", "env": [{"token": HIDDEN}], "pin_token": "1"}
    assert clean(config) == hidden and clean(hidden) == hidden
    assert clean_text("ValueError: abcdefgh12 at step 1") == f"ValueError: {HIDDEN} at step 1"


@pytest.mark.parametrize(
    "token", ["hf_" + "a1" * 12, "ghp_" + "b2" * 15, "AKIA" + "ABCD" * 4, "sk-" + "c3" * 12]
)
def test_well_known_forms_are_hidden_wherever_they_stand(token):
    assert clean_text(f"url=https://{token}@host") == f"url=https://{HIDDEN}@host"
    sha = "0123456789abcdef" * 2 + "01234567"
    assert clean_text(f"commit {sha}, task-{'x' * 30}") == f"commit {sha}, task-{'x' * 30}"


def test_passwords_of_netrc_are_hidden(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password 0123456789abcdef\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert clean_text("key 0123456789abcdef") == f"key {HIDDEN}"


def test_the_diff_is_kept_once_and_clean(tmp_path, monkeypatch):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    (checkout / "x.py").write_text("a = 1\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    monkeypatch.setattr(provenance, "_ROOT", checkout)
    monkeypatch.setattr(provenance, "code_hash", lambda *_: "c0de")
    monkeypatch.setenv("SERVICE_TOKEN", IN_ENVIRONMENT)
    study = tmp_path / "study"
    for text, kept in (("a = 1\n", False), (f"a = '{IN_ENVIRONMENT}'\n", True), ("a = 3\n", True)):
        (checkout / "x.py").write_text(text)
        provenance.git_sha.cache_clear()
        provenance.keep_diff(study)
        assert (study / "code" / "c0de.diff").exists() == kept
    diff = (study / "code" / "c0de.diff").read_text()
    assert f"+a = '{HIDDEN}'" in diff and diff.startswith("# git ")
    provenance.git_sha.cache_clear()


def test_the_diff_can_be_left_out(tmp_path: Path, monkeypatch):
    from prism.benchmark.launch.core import launch
    from tests.launch.fakes import play

    kept: list[Path] = []
    monkeypatch.setattr(provenance, "keep_diff", kept.append)
    words = ("algo=dqn", "env=cartpole", "algo.lr=0.001", "tracking=disabled")
    for flag, times in (("false", 0), ("true", 1)):
        study = sweep((*words, f"tracking.git_diff={flag}", f"results={tmp_path / flag}"))
        launch(study, InlineOptions(), play)
        assert len(kept) == times
