import os
import re
import subprocess
import sys
from contextlib import suppress

import pytest
import yaml

from prism.analysis.cli import COMMANDS as READERS
from prism.benchmark.cli import texts
from prism.benchmark.cli.main import _COMMANDS, main
from prism.benchmark.plan.grid import sweep
from prism.benchmark.plan.places import CONF
from prism.benchmark.store import records
from prism.benchmark.store.agents import registered
from prism.benchmark.util.versions import version

RUN = ["algo=dqn", "env=cartpole"]
QUICK = [
    "algo.learning_starts=20",
    "algo.train_every=4",
    "algo.hidden=[8]",
    "evaluation.episodes=1",
    "budget=60",
    "tracking=disabled",
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Run in an empty folder, so that whatever is written is seen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr("prism.benchmark.launch.cost.TRIAL", 0.01)
    return tmp_path


BAD = [
    (["algo=rainbo", "env=cartpole"], ["algo", "rainbo", "nearest: rainbow"]),
    (["algo=dqn", "env=cartpol"], ["env", "cartpol", "nearest: cartpole"]),
    (["study=quikstart"], ["study", "quikstart", "nearest: quickstart"]),
    (["algo=dqn", "env=pendulum"], ["algo=dqn env=pendulum", "discrete"]),
    (["algo=sac", "env=cartpole"], ["algo=sac env=cartpole", "continuous"]),
    (
        [*RUN, "evaluation.policy=sampled"],
        ["evaluation.policy=sampled: its policy is evaluated greedy only"],
    ),
    ([*RUN, "evaluation.also=sampld"], ["evaluation.also", "greedy, sampled", "sampld"]),
    (["algo=td3", "env=pendulum", "algo.noise=oh"], ["algo.noise", "ornstein_uhlenbeck", "oh"]),
    ([*RUN, "algo.gama=0.9"], ["algo.gama", "nearest: algo.gamma"]),
    ([*RUN, "algo.gamma=high"], ["algo.gamma=high must be a number"]),
    ([*RUN, "algo.gamma=3"], ["algo.gamma", "1", "3"]),
    (["algo=dqn", "env=gym", "env.id=CartPol-v1"], ["env.id", "CartPol-v1", "CartPole-v1"]),
    (["algo=dqn", "env=gym"], ["env.id is missing"]),
    ([*RUN, "seed=-1"], ["seed=-1"]),
    ([*RUN, "seed=0,x"], ["seed=x"]),
    ([*RUN, "budget=-5"], ["error: budget must be at least 1, got -5"]),
    ([*RUN, "budget=0"], ["error: budget must be at least 1, got 0"]),
    ([*RUN, "budget=lots"], ["budget=lots must be a whole number"]),
    ([*RUN, "budget=2", "algo.lanes=4"], ["budget=2", "algo.lanes=4"]),
    ([*RUN, "tuned=nope"], ["tuned", "nope"]),
    ([*RUN, "components=-doubel"], ["components", "-doubel", "nearest: -double"]),
    ([*RUN, "components=leave_on_out"], ["components", "nearest: leave_one_out"]),
    (
        [*RUN, "algo.learning_rate=1"],
        ["error: algo.learning_rate: no such key; here it is called algo.lr"],
    ),
    ([*RUN, "num_envs=4"], ["error: num_envs: no such key; here it is called algo.lanes"]),
    ([*RUN, "bugdet=5"], ["bugdet", "nearest: budget"]),
    ([*RUN, "evaluation.episode=5"], ["evaluation.episode", "nearest: evaluation.episodes"]),
    ([*RUN, "evaluation.episodes=0"], ["evaluation.episodes must be at least 1, got 0"]),
    ([*RUN, "tracking=ofline"], ["tracking", "nearest: offline"]),
    ([*RUN, "tracking.wandb=ofline"], ["tracking.wandb must be one of auto, online, offline,"]),
    ([*RUN, "tracking=offline,disabled"], ["tracking takes one value"]),
    ([*RUN, "stale=ignore"], ["stale", "ignore", "refuse"]),
    ([*RUN, "device=cdua"], ["device", "nearest: cuda"]),
    ([*RUN, "budget"], ["cannot read 'budget'"]),
    ([*RUN, "seed=range(0"], ["cannot read 'seed=range(0'"]),
    ([*RUN, "seed=interval(0,1)"], ["seed=interval(0,1)"]),
    ([*RUN, "+algo.x=1"], ["+algo.x=1", "added"]),
    ([*RUN, "~algo"], ["~algo", "deleted"]),
    ([*RUN, "--mutirun"], ["--mutirun"]),
    ([*RUN, "--config-dir=nowhere"], ["error: there is no folder nowhere"]),
    (["env=cartpole"], ["algo is missing", "rainbow"]),
    (["algo=dqn"], ["env is missing", "acrobot"]),
    ([*RUN, "algo.agent=prism.algos.dqn.dqn:Dqn"], ["algo.agent", "prism.algos.dqn.dqn:Dqn"]),
    (["algo=q_learning", "env=gym", "env.id=CliffWalking-v1"], ["set env.horizon"]),
    ([*RUN, "results=/dev/null"], ["results=/dev/null", "/dev/null is not a folder"]),
    ([*RUN, "results=/dev/null/there"], ["/dev/null is not a folder"]),
    ([*RUN, "results=/proc/foo"], ["/proc/foo", "No such file"]),
    ([*RUN, "hydra/launcher=ray"], ["hydra/launcher=ray", "Ray is not installed"]),
    ([*RUN, "name=.."], ["name='..' is not the name of a folder"]),
    ([*RUN, "name=''"], ["name='' is not"]),
    ([*RUN, "name=a/b"], ["name='a/b' is not"]),
    ([*RUN, "name=/tmp"], ["name='/tmp' is not"]),
    ([*RUN, f"name={'n' * 201}"], ["is not the name of a folder"]),
    ([*RUN, "grid=3"], ["grid=3 must be a mapping"]),
    ([*RUN, "grid=foo"], ["grid=foo must be a mapping"]),
    (["grid=[{algo: dqn, env: cartpole, name: x}]"], ["grid: name concerns the whole study"]),
    (
        [*RUN, "algo.agent=prism.algos.dqn.config:DQNConfig"],
        ["algo.agent=prism.algos.dqn.config:DQNConfig lacks Config, COMPONENTS"],
    ),
    ([*RUN, "algo.agent=prism.algos.core.agent:Spec"], ["Spec lacks"]),
    (
        [*RUN, "algo.agent=prism.algos.policy_gradient.ppo:PPO"],
        ["algo.agent=prism.algos.policy_gradient.ppo:PPO takes a", "algo=dqn"],
    ),
    ([*RUN, "exclude=[{algo:foo}]"], ["exclude.algo: unknown 'foo'; nearest: dqn"]),
    ([*RUN, "exclude=[{label:Q-lerning}]"], ["exclude.label: unknown 'Q-lerning'; nearest: DQN"]),
    (["algos=dqn", "env=cartpole"], ["algos: no such key; nearest: algo"]),
    (["agl=dqn", *RUN], ["agl: no such key; nearest: algo"]),
    (["algo=", "env=cartpole"], ["algo is missing; choose from"]),
    (["algo=dqn", "env="], ["env is missing; choose from"]),
    (["algo=[]", "env=cartpole"], ["algo is missing; choose from"]),
    ([*RUN, "seed=[]"], ["seed has no value"]),
    ([*RUN, "seed=range(0,0)"], ["seed has no value"]),
    ([*RUN, "budget=range(0,0)"], ["budget has no value"]),
    ([*RUN, "name=range(0,0)"], ["name takes one value"]),
    (["study=[quickstart,cliff]"], ["study takes one value, got ['quickstart', 'cliff']"]),
    ([*RUN, "budget=[100,200]"], ["budget takes one value, got [100, 200]; budget=a,b sweeps it"]),
    ([*RUN, "hydra.launcher=local"], ["write hydra/launcher=local"]),
    ([*RUN, "retry.oom=-1"], ["retry.oom must be at least 0, got -1"]),
    ([*RUN, "algo.hidden=[0]"], ["algo.hidden must all be at least 1, got [0]"]),
    ([*RUN, "algo.lr=nan"], ["algo.lr must be at least 0 and finite, got nan"]),
    ([*RUN, "algo.exploration.end=inf"], ["algo.exploration.end must be at least 0 and finite"]),
    ([*RUN, "checkpoint_every=nan"], ["checkpoint_every must be at least 0 and finite, got nan"]),
    ([*RUN, "limits.memory=-1"], ["error: limits.memory must be at least 0, got -1.0"]),
    ([*RUN, "env.random_score=nan"], ["env.random_score must be a finite number, got nan"]),
    (["algo=ppo", "env=cartpole", "algo.target_kl=-1"], ["algo.target_kl must be above 0, got"]),
    (["status", "results/quickstar"], ["results/quickstar"]),
    (["evaluate", "."], ["run.json"]),
    (["evaluate", ".", "--episodes", "0"], ["--episodes=0"]),
    (["wandb-push", "nowhere"], ["nowhere"]),
    (["statsu", "results/adhoc"], ["command", "nearest: status"]),
    (
        ["report", "results/adhoc"],
        ["report reads results: prism report results/adhoc"],
    ),
    ([*RUN, "hydra.launcher.njobs=2"], ["hydra.launcher.njobs", "nearest: hydra.launcher.n_jobs"]),
    ([*RUN, "hydra.launcher.n_jobs=two"], ["hydra.launcher.n_jobs=two must be a whole number"]),
    ([*RUN, "hydra.launcher.n_jobs=0"], ["hydra.launcher.n_jobs=0", "above 0"]),
    ([*RUN, "hydra.lancher.n_jobs=2"], ["hydra.lancher.n_jobs: of Hydra's own keys", "launcher"]),
    ([*RUN, "hydra.run.dir=x"], ["hydra.run.dir: ", "results=<folder> and name=<study>"]),
    ([*RUN, "hydra.sweep.dir=x"], ["hydra.sweep.dir: ", "results=<folder> and name=<study>"]),
    ([*RUN, "hydra/sweeper=optuna"], ["hydra/sweeper: ", "several values with commas"]),
    ([*RUN, "+hydra.verbose=true"], ["hydra.verbose", "hydra/launcher="]),
    ([*RUN, "--config-name", "x"], ["--config-name: ", "study=<name>"]),
    ([*RUN, "--hydra-help"], ["prism --help"]),
    ([*RUN, "--cfg", "jobb"], ["--cfg: unknown 'jobb'; nearest: job"]),
    ([*RUN, "--cfg", "job", "-p", "algo.gama"], ["--package: unknown 'gama'; nearest: gamma"]),
    (["study", "quikstart"], ["study", "nearest: quickstart"]),
    (["study"], ["prism study quickstart"]),
    (["run"], ["prism run algo=dqn env=cartpole"]),
    (["list", "algorithms"], ["list: unknown 'algorithms'; nearest: algos"]),
    (["help", "algo"], ["prism help algo=<name>"]),
    ([*RUN, "dry_run=maybe"], ["dry_run=maybe must be true or false"]),
    ([*RUN, "hydra/launcher=slrum"], ["hydra/launcher", "nearest: slurm"]),
    ([*RUN, "hydra/launcher=ray", "hydra.launcher.addr=x"], ["nearest: hydra.launcher.address"]),
]


@pytest.mark.parametrize(("words", "told"), BAD, ids=lambda words: " ".join(words))
def test_bad_input_is_one_line_and_writes_nothing(words, told, elsewhere, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    for part in told:
        assert part in err
    assert "Traceback" not in err
    assert list(elsewhere.iterdir()) == []


def test_cuda_where_there_is_none(monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert main([*RUN, "device=cuda", "name=without_cuda"]) == 2
    assert "device=cuda is not available" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["-h"]])
def test_help_lists_every_command(words, capsys):
    assert main(words) == 0
    out = capsys.readouterr().out
    for name in (*_COMMANDS, *texts.READERS):
        assert re.search(rf"\b{name}\b", out), name
    assert max(map(len, out.splitlines())) <= 100


def test_no_words_show_what_one_does_first(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert out.count("\n  prism ") == 5 and "prism --help" in out


def test_the_version_is_prisms(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"prism {version('prism-rl')}\n"


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("algos", "rainbow .*six parts"),
        ("envs", "cartpole .*CartPole-v1 .*100,000 steps"),
        ("studies", "quickstart .*Rainbow's component study"),
        ("executors", "slurm .*array"),
    ],
)
def test_lists_are_one_line_each(what, line, capsys):
    assert main(["list", what]) == 0
    out = capsys.readouterr().out
    assert re.search(f"^{line}", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 100


def test_a_list_has_what_a_folder_adds(elsewhere, monkeypatch, capsys):
    monkeypatch.setenv("PRISM_CONF", "")  # and so put back afterwards
    (elsewhere / "mine" / "algo").mkdir(parents=True)
    (elsewhere / "mine" / "algo" / "my_own.yaml").write_text("agent: prism.algos.dqn.dqn:DQN\n")
    assert main(["list", "algos", "--config-dir=mine"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"my_own", "rainbow"} <= set(names)
    (elsewhere / "mne").mkdir()
    assert main(["list", "algos", "--config-dir=min"]) == 2
    assert "there is no folder min; nearest: mine" in capsys.readouterr().err


def test_a_study_of_another_schema_is_refused_in_one_line(elsewhere, capfd):
    plan = elsewhere / "results" / "old" / "plan.json"
    plan.parent.mkdir(parents=True)
    plan.write_text('{"schema": 0}')
    for words, told in (
        ([*RUN, "name=old"], "plan.json has schema 0"),
        ([*RUN, "name=old", "-m"], "plan.json has schema 0"),
        (["--cfg", "job", "algo=rainbo", "env=cartpole"], "nearest: rainbow"),
    ):
        assert main(words) == 2
        out, err = capfd.readouterr()
        assert told in err and err.count("\n") == 1 and "Traceback" not in out + err
    assert plan.read_text() == '{"schema": 0}' and not (plan.parent / "runs").exists()


def test_a_dry_run_lists_jobs_and_writes_nothing(elsewhere, capsys):
    words = ["-m", "algo=dqn,c51", "env=cartpole,pendulum", *QUICK, "dry_run=true"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "adhoc: 2 runs in 2 jobs" in out
    assert "skipped: C51" in out and " on pendulum: " in out
    assert out.count("1 to do") == 2
    assert "CPU hours" in out and "(jobs: 0 from past runs, 2 from trials" in out
    assert list(elsewhere.iterdir()) == []


def test_a_run_and_the_same_again(elsewhere, capsys):
    words = [*RUN, *QUICK, "seed=3"]
    assert main(words) == 0
    (job,) = sweep(tuple(words)).jobs
    status = records.read_status(records.run_dir(job, job.run_ids[0]))
    assert status is not None and status["state"] == "finished"
    assert {p.name for p in elsewhere.iterdir()} == {"results"}
    assert main(words) == 0
    assert "1 finished before, 0 to do" in capsys.readouterr().out
    assert main(["status", "results/adhoc"]) == 0
    assert "1 run, 1 finished" in capsys.readouterr().out
    run = f"results/adhoc/runs/{job.run_ids[0]}"
    assert main(["evaluate", run, "--episodes", "2"]) == 0
    assert main(["evaluate", run[:-1], "--episodes", "2"]) == 2
    assert f"nearest: {job.run_ids[0]}" in capsys.readouterr().err


def test_work_goes_on_when_nobody_reads_its_output(elsewhere):
    words = "algo=q_learning env=frozenlake budget=3000 evaluation.episodes=1 tracking=disabled"
    command = f"{sys.executable} -m prism {words} name=unread | true; exit ${{PIPESTATUS[0]}}"
    env = {**os.environ, "PYTHONPATH": str(CONF.parent)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=env)
    assert done.returncode == 0
    assert done.stderr == "the reader of the output has exited; the work continues\n"
    (status,) = (elsewhere / "results" / "unread" / "runs").glob("*/status.json")
    assert records.read_json(status)["state"] == "finished"


def test_a_run_of_another_schema_is_not_evaluated(elsewhere, capsys):
    assert main([*RUN, *QUICK, "seed=3"]) == 0
    (run,) = (elsewhere / "results" / "adhoc" / "runs").iterdir()
    records.write_json(run / "run.json", records.read_json(run / "run.json") | {"schema": 1})
    capsys.readouterr()
    for command in ("evaluate", "video"):
        assert main([command, str(run)]) == 2
        line = capsys.readouterr().err
        assert "has schema 1, this version reads 2" in line and line.count("\n") == 1


def test_a_grid_in_parallel(elsewhere, capfd):
    words = ["-m", "algo=dqn,c51", "env=cartpole,pendulum", *QUICK, "seed=0,1", "name=grid"]
    assert main(words) == 0
    out = capfd.readouterr().out
    assert "4 runs, 4 finished" in out
    assert "skipped: DQN" in out
    plan = records.read_json(elsewhere / "results/grid/plan.json")
    assert [run["seed"] for run in plan["runs"]] == [0, 1, 0, 1]
    assert len(plan["skipped"]) == 2


def test_the_exit_code_tells_that_a_run_is_missing(monkeypatch, capsys):
    from prism.benchmark.launch import core

    monkeypatch.setattr(core.launch, "__defaults__", (lambda job: sys.exit(9),))
    assert main([*RUN, *QUICK, "seed=4"]) == 1
    assert "exit code 9" in capsys.readouterr().out


def test_an_agent_from_outside_needs_one_yaml(elsewhere, monkeypatch, capsys):
    monkeypatch.setenv("PRISM_CONF", "")  # and so put back afterwards
    folder = elsewhere / "mine" / "algo"
    folder.mkdir(parents=True)
    yaml = "agent: prism.algos.dqn.dqn:DQN\nname: mine\nlabel: Mine\nlr: 0.5\n"
    (folder / "mine.yaml").write_text(yaml)
    words = ["algo=mine", "env=cartpole", "--config-dir=mine", "dry_run=true", "budget=100"]
    words += ["algo.learning_starts=40", "algo.train_every=4"]
    assert main(words) == 0
    assert "Mine" in capsys.readouterr().out
    assert main([*words, "algo.gama=1"]) == 2
    assert "nearest: algo.gamma" in capsys.readouterr().err
    (folder / "worse.yaml").write_text(yaml + "lrr: 0.5\n")
    assert main(["algo=worse", *words[1:]]) == 2
    assert "lrr" in capsys.readouterr().err


def test_an_agent_that_cannot_be_imported_is_told_of_where_it_is_used(
    elsewhere, monkeypatch, capsys
):
    monkeypatch.setenv("PRISM_CONF", "")
    monkeypatch.setitem(registered(), "broken", "no_such_package.agent:Agent")
    folder = elsewhere / "mine" / "algo"
    folder.mkdir(parents=True)
    (folder / "broken.yaml").write_text("defaults: [/schema/broken@_here_, _self_]\nname: broken\n")
    (folder / "worse.yaml").write_text("defaults: [/schema/nothing@_here_]\n")
    words = ["env=cartpole", "--config-dir=mine", "dry_run=true", "budget=100"]
    assert main(["algo=dqn", "algo.learning_starts=40", "algo.train_every=4", *words]) == 0
    capsys.readouterr()
    assert main(["algo=broken", *words]) == 2
    assert "algo.agent=broken (no_such_package.agent:Agent) cannot be imported" in (
        told := capsys.readouterr().err
    )
    assert "No module named 'no_such_package'" in told and told.count("\n") == 1
    assert main(["algo=worse", *words]) == 2
    assert (
        "schema: unknown 'nothing'" in (told := capsys.readouterr().err) and told.count("\n") == 1
    )


def test_only_a_forest_needs_scikit_learn(elsewhere):
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from prism.benchmark.cli.main import main\n"
        f"assert main({[*RUN, *QUICK, 'dry_run=true', 'budget=100']}) == 0\n"
        "sys.exit(main(['algo=cem_forest', 'env=cartpole', 'dry_run=true']))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].endswith("scikit-learn, which is not installed")


def test_what_is_shown_is_what_runs(capsys):
    """After the tuned file, the components and the swept keys: a document for each cell."""
    words = ["algo=ppo", "env=cartpole", "seed=0,1"]
    for more in ([], ["tuned=false"], ["algo.lr=1e-3,2e-3"], ["components=leave_one_out"]):
        assert main([*words, *more, "--cfg", "job"]) == 0
        shown = list(yaml.safe_load_all(capsys.readouterr().out))
        assert shown == [job.spec.record for job in sweep((*words, *more)).jobs]
    assert main([*words, "--cfg", "job", "-p", "algo"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# PPO on cartpole, seeds 0, 1\nagent: ppo\n")
    assert {"lr": 0.001, "lanes": 8}.items() <= yaml.safe_load(text).items()  # as tuned
    assert main([*words, "--cfg", "hydra", "hydra.launcher.n_jobs=3"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["hydra"]["launcher"]["n_jobs"] == 3


def test_hydra_tells_where_configs_come_from(capfd):
    assert main(["--info", "searchpath", "algo=dqn"]) == 0
    assert str(CONF) in capfd.readouterr().out
    assert main(["--info", "defaults-tree", "algo=dqn", "env=cartpole"]) == 0
    assert "algo: dqn" in capfd.readouterr().out


def test_commands_of_analysis_are_known():
    assert {*texts.READERS, "list"} == set(READERS)  # prism list has results among others


@pytest.mark.parametrize("command", ["resume", "submit"])
def test_commands_that_take_a_sweep_have_help_too(command, capsys):
    with suppress(SystemExit):
        main([command, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: prism {command}")


@pytest.mark.parametrize(
    ("file", "schema", "line", "why"),
    [
        ("algo/mine", "dqn", "lrr: 0.1", "algo/mine.yaml: unknown 'lrr'; nearest: lr"),
        (
            *("algo/mine", "dqn", "learning_rate: 0.1"),
            "algo/mine.yaml: unknown 'learning_rate'; here it is called lr",
        ),
        ("env/mine", "env", "horizn: 3", "env/mine.yaml: unknown 'horizn'; nearest: horizon"),
        ("algo/mine", "mine", "", "schema: unknown 'mine'"),
        ("algo/mine", "mine", "", "entry-point group prism.agents"),
    ],
)
def test_a_mistake_in_a_file_of_ones_own_is_named(
    elsewhere, monkeypatch, capsys, file, schema, line, why
):
    monkeypatch.setenv("PRISM_CONF", "")
    path = elsewhere / "conf" / f"{file}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"defaults: [/schema/{schema}@_here_, _self_]\nname: mine\n{line}\n")
    group = file.partition("/")[0]
    words = [word for word in RUN if not word.startswith(group)]
    assert main([f"{group}=mine", *words, *QUICK, "--config-dir", "conf"]) == 2
    assert why in capsys.readouterr().err
