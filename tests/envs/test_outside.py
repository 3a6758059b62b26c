"""Wrappers of other packages, and what an episode tells beyond return and length."""

import importlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from prism.algos.core.mdp import MODEL
from prism.algos.core.states import FACTORS
from prism.benchmark.envs import facts, outside
from prism.benchmark.envs.config import EnvConfig, EnvWrappers, validate
from prism.benchmark.envs.episodes import FINAL
from prism.benchmark.envs.make import make_env, make_spec
from prism.benchmark.envs.table import TableVecEnv, vector_env
from prism.benchmark.envs.vector import SeedVecEnv
from prism.benchmark.plan.grid import sweep
from prism.benchmark.store import identity, provenance, records, schema, trust
from prism.benchmark.store.job import Job
from prism.benchmark.store.rows import read_rows
from prism.benchmark.train.evaluate import evaluate_run
from prism.benchmark.train.runner import run_job
from prism.benchmark.util.errors import ConfigError
from tests.runs import finished, folders, job, metrics, same_results, status, stop

HERE = "tests.envs.outside"
DRAIN, FORGETFUL, WIDE = f"{HERE}:Drain", f"{HERE}:Forgetful", f"{HERE}:Wide"
RECORD = ["success", "luck", "nothing"]


def walk(*extra: Any, **changes: Any) -> EnvConfig:
    wrappers = EnvWrappers(extra=list(extra), frame_stack=changes.pop("frame_stack", 1))
    return EnvConfig(
        **{"name": "walk", "id": "Outside/Walk-v0", "imports": HERE, "wrappers": wrappers} | changes
    )


def entry(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class": name, **arguments}


def steps(env: gymnasium.Env, count: int, seed: int = 0) -> list[tuple[Any, ...]]:
    env.reset(seed=seed)
    return [env.step(1) for _ in range(count)]


def played(env: SeedVecEnv, ticks: int, skip: int = 0) -> list[tuple[np.ndarray, ...]]:
    """Let every seed act by a stream of its own; ``skip`` ticks of it are used up already."""
    streams, seen = [np.random.default_rng(seed) for seed in env.seeds], []
    for tick in range(skip + ticks):
        action = np.stack([g.integers(2, size=env.lanes) for g in streams])
        if tick >= skip:
            seen.append((env.begin(), *env.step(action)))
    return seen


def same(a: list[tuple[np.ndarray, ...]], b: list[tuple[np.ndarray, ...]]) -> bool:
    pairs = ((x, y) for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True))
    return all(np.array_equal(x, y) for x, y in pairs)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a package installed that names a wrapper."""
    folder = tmp_path / "site" / "theirs-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[prism.wrappers]\ndrain = {DRAIN}\n")
    monkeypatch.syspath_prepend(folder.parent)
    outside.names.cache_clear()
    yield
    outside.names.cache_clear()


def test_extra_wrappers_stand_around_the_time_limit_and_within_the_encoding() -> None:
    config = walk(entry(DRAIN, by=0.5), entry(WIDE), horizon=3, frame_stack=2)
    env = make_env(config, training=False)
    layers = []
    while isinstance(env, gymnasium.Wrapper):
        layers.append(type(env).__name__)
        env = env.env
    assert layers == ["Stack", "Fresh", "Wide", "Drain", "TimeLimit"]
    env = make_env(config, training=False)
    outcomes = steps(env, 3)
    assert [reward for _, reward, *_ in outcomes] == pytest.approx([-0.6, -1.1, -1.6])
    assert outcomes[-1][3] and outcomes[-1][0].shape == (6,) == env.observation_space.shape
    assert outcomes[-1][0][[2, 5]].tolist() == [0.5, 0.5]


def test_evaluation_does_without_what_is_for_training_only() -> None:
    config = walk(entry(FORGETFUL, by=1.0, training_only=True), entry(DRAIN, by=0.25))
    paid = {t: steps(make_env(config, training=t), 1)[0][1] for t in (True, False)}
    assert paid == pytest.approx({True: -1.35, False: -0.35})
    assert steps(make_env(walk(), training=False), 1)[0][1] == pytest.approx(-0.1)


def test_a_wrapper_lives_one_episode_unless_told_otherwise() -> None:
    def first(fresh: bool | None) -> list[float]:
        env = make_env(walk(entry(DRAIN), fresh=fresh), training=True)
        return [steps(env, 2)[0][1] for _ in range(3)]

    assert first(None) == first(True) == pytest.approx([-0.11] * 3)
    assert first(False) == pytest.approx([-0.11, -0.13, -0.15])


def test_a_wrapper_is_found_by_its_registered_name(installed: None) -> None:
    by_name, by_class = walk(entry("drain", by=0.5)), walk(entry(DRAIN, by=0.5))
    validate(by_name)
    assert steps(make_env(by_name, training=True), 2)[1][1] == pytest.approx(-1.1)
    stored = [outside.stored(config.wrappers.extra) for config in (by_name, by_class)]
    assert stored == [[entry("drain", by=0.5)]] * 2
    with pytest.raises(ConfigError, match=r"extra\.0\.class: unknown 'drian'; nearest: drain"):
        validate(walk(entry("drian")))


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (3, "env.wrappers.extra.0: 3 is not a wrapper; write {class: module:Class}"),
        ({"by": 1}, "env.wrappers.extra.0: {'by': 1} is not a wrapper"),
        (entry("drain"), "env.wrappers.extra.0.class: unknown 'drain'; nearest: module:Class"),
        (
            entry("nowhere:W"),
            "extra.0.class=nowhere:W cannot be imported: No module named 'nowhere'",
        ),
        (entry(f"{HERE}:Drian"), f"{HERE}:Drian cannot be imported: module"),
        (entry(f"{HERE}:Walk"), f"env.wrappers.extra.0.class={HERE}:Walk is not a gymnasium.Wrap"),
        (entry(f"{HERE}:np"), f"{HERE}:np is not a gymnasium.Wrapper"),
        (entry(DRAIN, bi=1), "env.wrappers.extra.0.bi: unknown 'bi'; nearest: by"),
        (entry(DRAIN, env=1), "env.wrappers.extra.0.env: unknown 'env'"),
        (entry(DRAIN, training_only="yes"), "extra.0.training_only: yes is neither true nor false"),
        (
            entry(f"{HERE}:Picky", level=4),
            f"env.wrappers.extra.0: {HERE}:Picky cannot be built: ValueError: level 4 is too high",
        ),
        (entry(f"{HERE}:Picky"), "cannot be built: TypeError: Picky.__init__() missing 1 required"),
        (
            entry(WIDE, training_only=True),
            "env.wrappers.extra: in training the observation_space is Box(-1.0, 1.0, (3,)",
        ),
    ],
)
def test_mistakes_in_an_extra_wrapper_are_one_line(extra: Any, told: str) -> None:
    config = walk(extra)
    with pytest.raises(ConfigError) as caught:
        validate(config)
        make_spec(config, 10)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_a_module_that_breaks_as_it_is_imported_is_one_line(tmp_path, monkeypatch) -> None:
    (tmp_path / "prism_broken_wrappers.py").write_text("def f(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"^env\.wrappers\.extra\.0\.class=.*: invalid syntax"):
        validate(walk(entry("prism_broken_wrappers:W")))


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (f"env.wrappers=[{{class:{DRAIN}}}]", "env.wrappers takes a mapping of frame_stack, .*ext"),
        (f"env.wrappers.extra={{class:{DRAIN}}}", r"env\.wrappers\.extra takes a list"),
        ("env.wrappers.extra.x.by=1", r"env\.wrappers\.extra\.x\.by: no such key"),
        ("env.record=success", r"env\.record takes a list, as in env\.record=\[a,b\], got success"),
        ("env.record=[length]", r"env\.record: 'length' is always recorded"),
        ("env.record=[x,x]", r"env\.record: 'x' is listed twice"),
        ("env.record=[a/b]", r"env\.record: 'a/b' is not a name"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(key: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        sweep(("algo=dqn", "env=cartpole", key))
    assert "\n" not in str(caught.value)


def test_a_list_of_wrappers_in_a_file_is_one_line(tmp_path, monkeypatch) -> None:
    (tmp_path / "env").mkdir()
    text = "defaults: [/schema/env@_here_, _self_]\nname: mine\nid: CartPole-v1\nwrappers:\n"
    (tmp_path / "env" / "mine.yaml").write_text(f"{text}  - class: {DRAIN}\n")
    monkeypatch.setenv("PRISM_CONF", str(tmp_path))
    with pytest.raises(ConfigError, match=r"^env/mine\.yaml: env\.wrappers: is a map.* extra$"):
        sweep(("algo=dqn", "env=mine"))


def test_a_value_of_a_wrong_type_in_a_file_is_one_line(tmp_path, monkeypatch) -> None:
    (tmp_path / "env").mkdir()
    text = "defaults: [/schema/env@_here_, _self_]\nname: mine\nid: CartPole-v1\nrecord: success\n"
    (tmp_path / "env" / "mine.yaml").write_text(text)
    monkeypatch.setenv("PRISM_CONF", str(tmp_path))
    with pytest.raises(ConfigError, match=r"^env/mine\.yaml: env\.record: Invalid value assigned"):
        sweep(("algo=dqn", "env=mine"))


@pytest.mark.parametrize("where", ["reset", "step"])
def test_a_wrapper_that_breaks_the_interface_fails_its_seed(where: str) -> None:
    env = SeedVecEnv(walk(entry(f"{HERE}:Old", where=where)), (1, 2), 1)
    played(env, 2)
    assert sorted(env.failed) == [0, 1]
    wrong = {"reset": "ValueError: the first observation has shape ()", "step": "ValueError: not"}
    assert all(reason.startswith(wrong[where]) for reason in env.failed.values())


@pytest.mark.parametrize("fresh", [None, True])
def test_a_wrapper_that_counts_its_steps_is_continued_to_the_bit(fresh: bool | None) -> None:
    config = walk(entry(DRAIN), fresh=fresh, record=RECORD)

    def make(seeds: tuple[int, ...] = (3, 11, 42)) -> SeedVecEnv:
        return SeedVecEnv(config, seeds, 2)

    whole, parts = make(), make()
    played(whole, 70)
    state = whole.state()
    rest = played(whole, 50, 70)
    parts.load(state)
    assert same(rest, played(parts, 50, 70))
    np.testing.assert_equal(parts.drain(), drained := whole.drain())
    one = make((11,))
    one.load({name: tensor[1:2] for name, tensor in state.items()})
    assert same([tuple(x[1:2] for x in row) for row in rest], played(one, 50, 70))
    np.testing.assert_equal(one.drain(), drained[1:2])


def test_a_wrapper_that_outlives_its_episodes_is_refused_at_the_latest_by_a_resume() -> None:
    env, again = (SeedVecEnv(walk(entry(DRAIN), fresh=False), (1,), 1) for _ in range(2))
    played(env, 60)
    with pytest.raises(ConfigError, match=r"env\.fresh"):
        again.load(env.state())


def test_a_table_does_not_know_extra_wrappers() -> None:
    def lake(*extra: dict[str, Any]) -> EnvConfig:
        return EnvConfig(name="lake", id="FrozenLake-v1", wrappers=EnvWrappers(extra=list(extra)))

    def kinds(config: EnvConfig) -> list[type]:
        return [type(vector_env(config, (0,), 1, training=t)) for t in (True, False)]

    assert kinds(lake()) == [TableVecEnv, TableVecEnv]
    assert kinds(lake(entry(DRAIN))) == [SeedVecEnv, SeedVecEnv]
    assert kinds(lake(entry(DRAIN, training_only=True))) == [SeedVecEnv, TableVecEnv]
    plain, wrapped = (make_spec(lake(*extra), 10).extras for extra in ([], [entry(DRAIN)]))
    assert plain[FACTORS] == wrapped[FACTORS] == (16,)
    assert MODEL in plain and MODEL not in wrapped


def words(*more: str) -> tuple[str, ...]:
    return ("algo=dqn", "env=gym", "env.id=Outside/Walk-v0", f"env.imports={HERE}", *more)


def planned(*more: str) -> Job:
    (found,) = sweep(words(*more)).jobs
    return found


def test_what_belongs_to_a_run_and_what_to_its_protocol(installed: None) -> None:
    def wrapped(more: str = "", name: str = DRAIN) -> Job:
        return planned(f"env.wrappers.extra=[{{class:{name}{more}}}]")

    plain, drained, more = planned(), wrapped(), wrapped(",by:0.5")
    only, not_only = wrapped(",training_only:true"), wrapped(",training_only:false")
    ids = [work.run_ids[0] for work in (plain, drained, more, only)]
    assert len(set(ids)) == 4
    assert drained.run_ids == not_only.run_ids == wrapped(name="drain").run_ids
    protocols = [identity.protocol(work.spec)[0] for work in (plain, drained, more, only)]
    assert len(set(protocols)) == 3 and protocols[0] == protocols[3]
    assert "wrappers" not in identity.protocol(plain.spec)[1]
    assert identity.protocol(more.spec)[1]["wrappers"] == [entry("drain", by=0.5)]
    told = planned("env.record=[success]")
    assert told.run_ids == plain.run_ids and told.variant == plain.variant
    assert identity.protocol(told.spec) == identity.protocol(plain.spec)


def test_an_argument_of_a_wrapper_can_be_swept() -> None:
    extra = f"env.wrappers.extra=[{{class:{DRAIN},by:0.5}}]"
    jobs = sweep(words(extra, "env.wrappers.extra.0.by=0.1,0.2")).jobs
    assert [work.spec.env.wrappers.extra[0]["by"] for work in jobs] == [0.1, 0.2]
    assert len({work.run_ids[0] for work in jobs}) == 2


def test_the_code_of_a_wrappers_package_counts(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "prism_their_wrappers.py"

    def hashed(*extra: dict[str, Any]) -> str:
        provenance._hash_of.cache_clear()
        importlib.invalidate_caches()
        env = EnvConfig(wrappers=EnvWrappers(extra=list(extra)))
        spec: Any = SimpleNamespace(algo=SimpleNamespace(agent="dqn"), env=env)
        return provenance.code_hash(spec)

    path.write_text("one = 1")
    before = hashed(theirs := entry("prism_their_wrappers:W"))
    assert hashed() == provenance.code_hash() and before.startswith(f"{hashed()}-")
    path.write_text("one = 2")
    assert hashed(theirs) != before
    assert hashed(entry("prism.benchmark.envs.wrappers:Encode")) == hashed()


def test_facts_are_those_of_the_last_step() -> None:
    told, silent = (SeedVecEnv(walk(record=names), (3, 11), 2) for names in (RECORD, []))
    assert same(played(told, 120), played(silent, 120))
    with_facts, without = told.drain(), silent.drain()
    assert [[e[:2] for e in done] for done in with_facts] == without
    ends = [e for done in with_facts for e in done]
    assert {e[2] for e in ends} == {0.0, 1.0}
    for _, _, success, luck, nothing in ends:
        assert np.isnan(luck) == (success == 0.0) and np.isnan(nothing)
    means = facts.means(with_facts, 3)
    for k, done in enumerate(with_facts):
        assert means[k, 0] == np.mean([e[2] for e in done])
        assert means[k, 1] == np.mean([e[3] for e in done if e[2]])
    assert np.isnan(means[:, 2]).all()
    assert np.isnan(facts.means([[], []], 3)).all()


def test_a_state_may_be_from_before_something_was_recorded() -> None:
    before, after = (SeedVecEnv(walk(record=names), (3,), 2) for names in (["luck"], RECORD))
    played(before, 100)
    after.load(before.state())
    (old,), (new,) = before.drain(), after.drain()
    np.testing.assert_equal([e[:2] for e in new], [e[:2] for e in old])
    np.testing.assert_equal([e[2:] for e in new], [(np.nan, e[2], np.nan) for e in old])


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((True, 1.0), (2, 2.0), (0.5, 0.5), (np.bool_(1), 1.0), (np.float32(0.5), 0.5)),
        *((np.nan, None), (np.array(3), 3.0), (torch.tensor(2.0), 2.0)),
    ],
)
def test_numbers_and_bools_are_facts(value: Any, number: float | None) -> None:
    (found,) = facts.of({"x": value}, ["x"])
    assert found == number or (number is None and np.isnan(found))


@pytest.mark.parametrize("value", ["yes", None, [1.0], np.ones(1), {"a": 1}, 1j, np.inf, [[1], 2]])
def test_anything_else_fails_the_seed_in_one_line(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^env\.record: info\['success'\] is .+, not a finite"):
        facts.of({"success": value}, ["success"])
    env = SeedVecEnv(walk(kwargs={"tells": value}, record=["success"]), (3,), 1)
    played(env, 80)
    if value is None:
        assert not env.failed  # this environment takes it for "say how it was"
    else:
        assert env.failed[0].startswith("ConfigError: env.record: info['success'] is")
        assert "\n" not in env.failed[0]


def test_a_table_has_no_facts() -> None:
    lake = EnvConfig(name="lake", id="FrozenLake-v1", record=["prob"])
    with pytest.raises(ConfigError, match=r"^env\.record: FrozenLake-v1 .*; set env\.table=false"):
        make_spec(lake, 10)
    lake.table = False
    make_spec(lake, 10)
    env = vector_env(lake, (0,), 1)
    played(env, 100)
    assert facts.means(env.drain(), 1).tolist() == [[pytest.approx(1 / 3)]]


def work(folder: Path, seeds: tuple[int, ...] = (3, 11, 42), **changes: Any) -> Job:
    kept = {"env__imports": HERE, "env__fresh": None, "env__record": RECORD}
    extra = [entry(FORGETFUL, training_only=True), entry(DRAIN)]
    wrapped = {"env__wrappers.extra": extra}
    return job(folder, env="Outside/Walk-v0", seeds=seeds, **kept | wrapped | changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Job]:
    done = finished(work(tmp_path_factory.mktemp("whole")))
    return lambda: done


def test_rows_hold_the_facts_and_nothing_else_changes(whole, tmp_path) -> None:
    quiet = finished(work(tmp_path, env__record=[]))
    assert quiet.run_ids == whole().run_ids
    told = [read_rows(folder / "metrics.jsonl") for folder in folders(whole())]
    silent = [read_rows(folder / "metrics.jsonl") for folder in folders(quiet)]
    added = {f"{p}/{name}" for p in ("train", "eval", "final") for name in ("success", "luck")}
    bare = [[{k: x for k, x in row.items() if k not in added} for row in run] for run in told]
    assert bare == silent
    columns = [{name for row in run for name in row} for run in told]
    assert set().union(*columns) >= added and not any("nothing" in c for c in set().union(*columns))
    for run in told:
        for row in run:
            # one that is cut tells nothing
            assert row.get(schema.TRAIN_EPISODES) or "train/success" not in row
            assert schema.EVAL_RETURN in row or "eval/success" not in row
        assert "final/success" not in run[0] and 0 <= run[-1].get("final/success", 0) <= 1


def test_a_seed_with_wrappers_and_facts_is_as_if_alone(whole, tmp_path) -> None:
    for k, seed in enumerate(whole().seeds):
        assert metrics(finished(work(tmp_path, (seed,)))) == metrics(whole())[k : k + 1]


def test_a_run_with_wrappers_and_facts_resumes_to_the_bit(whole, tmp_path) -> None:
    parts = work(tmp_path)
    for ticks in (47, 61, 1, 90):
        stop(parts, ticks)
    finished(parts)
    same_results(whole(), parts)


def test_evaluate_prints_the_facts(whole, tmp_path) -> None:
    folder = next(folders(whole()))
    with trust.granted(everything=True):
        result = evaluate_run(folder, 3, purpose=FINAL)  # as many as the final evaluation had
    last = read_rows(folder / "metrics.jsonl")[-1]
    assert result["mean"] == pytest.approx(last[schema.FINAL_RETURN])
    facts = result["facts"]
    assert facts["success"] == last["final/success"]
    assert facts["luck"] == last.get("final/luck") and facts["nothing"] is None


def test_evaluate_of_an_environment_that_fails_is_one_line(whole, tmp_path) -> None:
    original = next(folders(whole()))
    folder = Path(shutil.copytree(original, tmp_path / original.name))
    record = {**records.read_json(folder / "run.json")}
    record["config"]["env"]["kwargs"] = {"tells": "yes"}
    state = {
        key: x for key, x in records.read_json(folder / "status.json").items() if key != "digests"
    }
    records.write_json(folder / "run.json", record)
    records.write_json(folder / "status.json", state)
    fails = pytest.raises(
        ConfigError,
        match=rf"^run {original.name}: its environment fails: .*env\.record: info",
    )
    with fails, trust.granted(everything=True):
        evaluate_run(folder, 10)


def test_a_fact_that_is_no_number_ends_the_run_in_one_line(tmp_path) -> None:
    broken = work(tmp_path, (3,), env__kwargs={"tells": "yes"})
    run_job(broken)
    told = status(broken, 0)
    assert told["state"] == schema.FAILED and told["failure"] == schema.EXCEPTION
    assert told["reason"] is not None and "env.record: info['success'] is 'yes'" in told["reason"]
