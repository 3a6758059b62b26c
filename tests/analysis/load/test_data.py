"""Nothing between a run folder and a number is lost, merged, stretched or truncated in silence."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prism.analysis.errors import AnalysisError
from prism.analysis.load.data import load
from prism.analysis.load.run_folder import read_run
from prism.analysis.questions import curves
from prism.analysis.questions.scores import score_runs
from prism.benchmark.store import schema

CONFIG = {
    **{"algo": {}, "env": {}, "evaluation": {}, "budget": 10_000, "log_every": None},
    **{"checkpoint_every": 60.0, "device": "cpu", "threads": 1},
}


def row_of(data, run_id):
    return data.runs.set_index("run_id").loc[run_id]


def old_status(path: Path) -> dict:
    status: dict = json.loads((path / "status.json").read_text())
    del status["digest"]
    return status


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_every_planned_run_is_counted(broken):
    data = load(broken)
    counts = data.counts()
    assert counts == {
        "planned": 20, "finished": 15, "failed": 1, "interrupted": 2, "running": 1, "missing": 1,
        "scored": 15,
    }  # fmt: skip
    assert len(data.runs) == counts["planned"]
    assert data.size("Rainbow", "lake") == (5, 10)
    reasons = data.runs.set_index("run_id").excluded
    assert reasons["rainbow-lake-s5"] == "failed; ValueError: loss is NaN"
    assert reasons["rainbow-lake-s6"] == "missing; no run folder"
    assert reasons["rainbow-lake-s7"].startswith("running; last update 2023-11-14 22:13 UTC")
    assert data.unplanned == ["broken/stale-of-another-grid"]
    assert data.skipped[0]["env"] == "pendulum"
    assert any("not in the plan" in note for note in data.notes)


def test_a_torn_last_line_is_left_out_and_told(broken):
    data = load(broken)
    assert any("rainbow-lake-s9: metrics.jsonl: the incomplete" in note for note in data.notes)
    assert row_of(data, "rainbow-lake-s9")["rows"] == 8


def test_unfinished_runs_enter_curves_only_if_asked_and_never_scores(broken):
    closed, partial = load(broken), load(broken, include=["unfinished"])
    assert len(score_runs(partial, schema.EVAL_RETURN)) == 15
    frames = [curves.learning_curves(data, schema.EVAL_RETURN) for data in (closed, partial)]
    before, after = (frame[frame.label == "Rainbow"].set_index("step").n for frame in frames)
    assert set(before) == {5}
    # 5 finished; failed at 50 %, running at 70 %, interrupted at 30 % and 40 %: no run is stretched
    assert list(after[[3000, 3500, 4000, 4500, 5000, 5500, 7000, 7500, 10000]]) == [
        9, 8, 8, 7, 7, 6, 6, 5, 5,
    ]  # fmt: skip


def test_lines_and_table_give_the_same_frame(writer):
    frames = []
    for parquet in (True, False):
        study = writer(f"p{parquet}")
        study.run(study.variant("DQN"), "lake", 0, 50, parquet=parquet)
        frames.append(load(study.plan()).metrics)
    pd.testing.assert_frame_equal(*frames)


def test_a_table_that_has_changed_is_not_believed(writer):
    study = writer("short")
    path = study.run(study.variant("DQN"), "lake", 0, 50)
    frame = pd.read_parquet(path / "metrics.parquet")
    study.seal()
    frame.assign(**{schema.FINAL_RETURN: 7.0}).to_parquet(path / "metrics.parquet")
    data = load(study.plan())
    assert data.runs.final[0] == frame[schema.FINAL_RETURN].iloc[-1] != 7
    note = r"dqn-lake-s0: metrics.parquet has .*: metrics.jsonl was read"
    assert [bool(re.match(note, said)) for said in data.notes] == [True]
    (path / "status.json").write_text(json.dumps({**old_status(path), "digests": None}))
    data = load(study.folder)
    assert data.runs.final[0] == frame[schema.FINAL_RETURN].iloc[-1]
    assert data.notes == [
        "no digests: 1 finished run; changes of their files are not seen",
    ]


def drop_rows(path):
    lines = (path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (path / "metrics.jsonl").write_text("".join(lines[:6]))


def last_row(**changes):
    def mutate(path):
        *lines, last = (path / "metrics.jsonl").read_text().splitlines()
        lines.append(json.dumps(json.loads(last) | changes))
        (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")

    return mutate


def append(text):
    def mutate(path):
        with (path / "metrics.jsonl").open("a") as file:
            file.write(text)

    return mutate


MUTATIONS = {
    "a run is deleted": (shutil.rmtree, "missing; no run folder"),
    "its status is gone": (lambda path: (path / "status.json").unlink(), "status.json"),
    "its rows are cut": (drop_rows, "rows end at step 3000 of 10000"),
    "its score is NaN": (last_row(**{schema.FINAL_RETURN: float("inf")}), "not finite"),
    "its score is text": (last_row(**{schema.FINAL_RETURN: "good"}), "not a number"),
    "it ends early": (last_row(global_step=9_600), "end at step 9600 of 10000"),
    "it goes on": (append('{"global_step": 11000}\n'), "after the end of its budget"),
    "a row comes twice": (append('{"global_step": 10000, "final/return": 3}\n'), "two values"),
    "rows go back": (append('{"global_step": 500}\n'), "goes back to step 500"),
    "a line is no JSON": (append("{]\n"), "line 21 is not JSON"),
    "its seed is swapped": (lambda path: edit(path / "run.json", seed=1), "differ in seed"),
    "it is of another env": (lambda path: edit(path / "run.json", env="sea"), "differ in env"),
    "its state is unknown": (
        lambda path: edit(path / "status.json", state="fine"),
        "unknown state",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_changed_run_is_excluded_with_the_reason(writer, name):
    mutate, reason = MUTATIONS[name]
    study = writer("mutated")
    paths = [study.run(study.variant("DQN"), "lake", k, 50, parquet=False) for k in range(3)]
    mutate(paths[0])
    data = load(study.plan())
    assert len(data.runs) == 3
    assert list(data.scored.seed) == [1, 2]
    assert reason in data.runs.excluded[0]


def cut_out(path):
    """Delete what lies between the first and the last row."""
    first, *_, last = (path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (path / "metrics.jsonl").write_text(first + last)


def rows_of_another(path):
    for name in ("metrics.jsonl", "metrics.parquet"):
        shutil.copy(path.with_name("dqn-lake-s2") / name, path / name)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut_out, r"metrics.jsonl has \d+ bytes; it had \d+ when the run finished"),
        (rows_of_another, r"metrics.jsonl has \d+ bytes; it had \d+ when the run finished"),
        (lambda path: (path / "metrics.jsonl").unlink(), "metrics.jsonl is missing"),
        (lambda path: None, ""),
    ],
)
def test_a_finished_run_has_the_rows_that_it_ended_with(writer, damage, reason):
    study = writer("sizes")
    for seed in range(3):
        path = study.run(study.variant("DQN"), "lake", seed, 50)
        edit(path / "status.json", size=(path / "metrics.jsonl").stat().st_size)
    damage(path.with_name("dqn-lake-s0"))
    data = load(study.plan())
    assert re.fullmatch(reason, data.runs.excluded[0])
    assert list(data.runs.flag) == ["", "", ""]
    assert list(data.scored.seed) == ([1, 2] if reason else [0, 1, 2])


@pytest.mark.parametrize(
    ("change", "flag", "reason"),
    [
        ({"protocol": "p2"}, "protocol", "protocol p2, most runs of lake have p1"),
        ({"budget": 5_000}, "budget", "budget 5000, most runs of lake have 10000"),
        (
            {"config": {**CONFIG, "algo": {"lr": 1}}},
            "configuration",
            "most runs of DQN on lake have",
        ),
    ],
)
def test_odd_runs_are_left_out_listed_and_taken_in_by_their_flag(writer, change, flag, reason):
    study = writer("mixed")
    for seed in range(3):
        study.run(study.variant("DQN"), "lake", seed, 50, **(change if seed == 2 else {}))
    folder = study.plan()
    data = load(folder)
    assert list(data.scored.seed) == [0, 1]
    assert data.runs.flag[2] == flag
    assert reason in data.runs.excluded[2]
    taken = load(folder, include=[flag])
    assert len(taken.scored) == 3
    assert any(note.startswith(f"included with --include {flag}: 1 run ") for note in taken.notes)


def outside(n, label="SB3", seeds=None, **columns):
    """A table of somebody else's runs on the lake, which does not say how they were evaluated."""
    seeds = range(n) if seeds is None else seeds
    frame = {"label": label, "env": "lake", "seed": seeds, "final": np.arange(n) * 1.0}
    return pd.DataFrame(frame | {"budget": 10_000, "reference": 100.0, "random": 0.0} | columns)


def test_runs_of_unknown_protocol_have_no_vote_count_and_are_noted(writer):
    study = writer("ours")
    for seed in range(3):
        study.run(study.variant("DQN"), "lake", seed, 50)
    for many in (2, 30):
        data = load([study.plan(), outside(many)])
        assert list(data.scored.label) == ["DQN"] * 3 + ["SB3"] * many
        notes = [note for note in data.notes if "evaluation protocol" in note]
        assert notes == [
            f"lake: unknown evaluation protocol: {many} runs of SB3; "
            "compared with runs of protocol p1"
        ]
    assert not any("evaluation protocol" in note for note in load(outside(3)).notes)


def test_a_known_protocol_is_told_from_most_known_ones(writer):
    study = writer("ours")
    for seed in range(3):
        study.run(study.variant("DQN"), "lake", seed, 50)
    data = load([study.plan(), outside(9), outside(2, "RLlib", protocol=["p2", None])])
    odd = data.runs[data.runs.excluded != ""]
    assert list(odd.excluded) == ["protocol p2, most runs of lake have p1"]


def test_forms_of_policies_may_differ_between_labels_and_not_within_one(writer):
    study = writer("forms")
    for seed in range(3):
        study.run(study.variant("DQN"), "lake", seed, 50, protocol="p1-greedy")
        form = "greedy" if seed == 2 else "sampled"
        study.run(study.variant("CEM"), "lake", seed, 60, protocol=f"p1-{form}")
    folder = study.plan()
    data = load(folder)
    assert data.size("DQN", "lake") == (3, 3) and data.size("CEM", "lake") == (2, 3)
    odd = data.runs[data.runs.excluded != ""]
    reason = "protocol p1-greedy, most runs of CEM on lake have p1-sampled"
    assert list(odd.excluded) == [reason] and list(odd.flag) == ["protocol"]
    note = "lake: policies are evaluated in different forms: greedy DQN; sampled CEM"
    assert note in data.notes
    assert len(load(folder, include=["protocol"]).scored) == 6
    alike = writer("alike")
    for label in ("DQN", "PPO"):
        alike.run(alike.variant(label), "lake", 0, 50, protocol="p1-greedy")
    assert not any("forms" in note for note in load(alike.plan()).notes)


def test_no_majority_of_protocols_is_refused_unless_taken_in(writer):
    study = writer("tie")
    for seed in range(4):
        study.run(study.variant("DQN"), "lake", seed, 50, protocol=f"p{seed % 2}")
    folder = study.plan()
    message = (
        "lake: 2 runs with protocol p0, 2 runs with protocol p1; no protocol is the most frequent"
    )
    with pytest.raises(AnalysisError, match=message):
        load([folder, outside(9)])
    assert len(load(folder, include=["protocol"]).scored) == 4


def test_runs_of_unknown_configuration_are_not_averaged_with_known_ones(writer):
    study = writer("ours")
    for seed in range(3):
        study.run(study.variant("DQN"), "lake", seed, 50)
    data = load([study.plan(), outside(9, "DQN", seeds=range(10, 19))])
    assert set(data.scored.seed) == {0, 1, 2}
    assert data.runs.flag[3] == "configuration"
    assert data.runs.excluded[3].startswith("configuration unknown, most runs of DQN on lake have")


def test_what_as_many_runs_have_is_not_called_that_of_most(writer):
    study = writer("two")
    for seed in range(2):
        study.run(study.variant("DQN"), "lake", seed, 50, budget=5_000 * (seed + 1))
    assert load(study.plan()).runs.excluded[1] == "budget 10000, as many runs of lake have 5000"


def test_runs_behind_their_budget_are_taken_in_by_their_flag(writer):
    study = writer("long")
    paths = [study.run(study.variant("DQN"), "lake", k, 50, parquet=False) for k in range(2)]
    append('{"global_step": 11000}\n')(paths[0])
    folder = study.plan()
    assert list(load(folder).scored.seed) == [1]
    assert load(folder).runs.flag[0] == "over-long"
    assert list(load(folder, include=["over-long"]).scored.seed) == [0, 1]


def test_the_last_tick_of_several_lanes_may_end_behind_the_budget(writer):
    study = writer("lanes")
    paths = [study.run(study.variant("DQN"), "lake", k, 50, parquet=False) for k in range(3)]
    for path, end in zip(paths, (10_000, 10_003, 10_004), strict=True):
        last_row(global_step=end)(path)
        record = json.loads((path / "run.json").read_text())
        edit(path / "run.json", config=record["config"] | {"algo": {"lanes": 4}})
    data = load(study.plan())
    assert list(data.scored.seed) == [0, 1] and data.runs.flag[2] == "over-long"


def test_two_runs_of_one_cell_never_both_count_in_silence(writer, tmp_path):
    for name in ("one", "two"):
        study = writer(name)
        study.run(study.variant("DQN"), "lake", 0, 50)
        study.plan()
    folders = [tmp_path / "results" / name for name in ("one", "two")]
    data = load(folders)
    assert len(data.runs) == 1
    assert "equal in several places and counted once: 1 run" in data.notes
    run = folders[1] / "runs" / "dqn-lake-s0"
    run.rename(run.with_name("dqn-lake-s0-other"))
    for file in (folders[1] / "plan.json", run.with_name("dqn-lake-s0-other") / "run.json"):
        file.write_text(file.read_text().replace('"dqn-lake-s0"', '"dqn-lake-s0-other"'))
    data = load(folders)
    assert list(data.scored.run_id) == ["dqn-lake-s0"]
    assert data.runs.flag[1] == "duplicate"
    assert "same label, environment and seed as dqn-lake-s0" in data.runs.excluded[1]
    assert len(load(folders, include=["duplicate"]).scored) == 2


def generations(writer, **second):
    """Two folders of one study, the second with other code or scores, an older one and a newer."""
    folders = []
    for name, more in (("old", {}), ("new", second)):
        study = writer(name)
        for seed in range(3):
            study.run(study.variant("DQN"), "lake", seed, more.get("score", 50), parquet=False)
        folders.append(study.plan())
    return folders


def test_two_generations_of_a_study_are_told_apart(writer):
    folders = generations(writer, score=80)
    for run in (folders[1] / "runs").iterdir():
        edit(run / "run.json", code="newc0de")
    for here, there in (folders, folders[::-1]):
        data = load([here, there])
        assert data.counts() == {
            **{"planned": 6, "finished": 6, "failed": 0, "interrupted": 0, "running": 0},
            **{"missing": 0, "scored": 3},
        }
        alone = load(here)
        assert list(data.scored.final) == list(alone.scored.final)
        assert {data.records[i]["code"] for i in data.scored.run_id} == set(alone.runs.code)
        losers = data.runs[data.runs.excluded != ""]
        assert list(losers.run_id) == [f"dqn-lake-s{k}@{there.name}" for k in range(3)]
        assert set(losers.flag) == {"duplicate"}
        assert losers.excluded.iloc[0] == (
            f"copy from {there} of dqn-lake-s0 in {here}; differs in code, rows, score"
        )
        note = f"copies with different code, rows, score: 3 runs of {there}"
        assert [n for n in data.notes if "copies" in n] == [note]
        assert data.records["dqn-lake-s1@" + there.name]["code"] == load(there).runs.code[0]
        taken = load([here, there], include=["duplicate"])
        assert len(taken.scored) == 6
        assert sorted(taken.scored.final.round(6)) == sorted(
            [*alone.scored.final.round(6), *load(there).scored.final.round(6)]
        )


def test_the_record_is_that_of_the_copy_that_counts(writer):
    first, second = generations(writer)
    edit(first / "runs" / "dqn-lake-s1" / "status.json", state=schema.INTERRUPTED)
    edit(first / "runs" / "dqn-lake-s1" / "run.json", git="first")
    edit(second / "runs" / "dqn-lake-s1" / "run.json", git="second")
    for include in ([], ["unfinished"], ["duplicate"]):
        data = load([first, second], include=include)
        assert list(data.scored.seed) == [0, 1, 2]
        assert data.records["dqn-lake-s1"]["git"] == "second"
        assert data.records["dqn-lake-s1@old"]["git"] == "first"
        copy = row_of(data, "dqn-lake-s1@old")
        assert copy.excluded.startswith("interrupted; copy from")
        assert not copy.partial


def test_a_copy_whose_rows_alone_differ_is_listed(writer):
    first, second = generations(writer)
    path = second / "runs" / "dqn-lake-s0" / "metrics.jsonl"
    lines = path.read_text().splitlines()
    lines[4] = json.dumps(json.loads(lines[4]) | {schema.EVAL_RETURN: 1e6})
    path.write_text("\n".join(lines) + "\n")
    data = load([first, second])
    assert "of dqn-lake-s0 in" in row_of(data, "dqn-lake-s0@new").excluded
    assert len(data.runs) == 4


def test_a_copy_that_has_not_begun_is_none(writer):
    first, second = generations(writer)
    shutil.rmtree(first / "runs" / "dqn-lake-s0")
    data = load([first, second])
    assert list(data.scored.seed) == [0, 1, 2]
    assert len(data.runs) == 3
    assert data.runs.seed[0] == 0


def test_other_runs_of_one_id_all_count():
    frames = [outside(2, label, run_id=["1", "2"]) for label in ("SB3", "RLlib")]
    data = load(frames)
    assert list(data.scored.run_id) == ["1", "2", "1@frame", "2@frame"]
    assert list(data.scored.label) == ["SB3", "SB3", "RLlib", "RLlib"]


def test_a_flag_that_does_not_exist_is_told(rainbow):
    with pytest.raises(AnalysisError, match="include: unknown 'unfinishd'; nearest: unfinished"):
        load(rainbow, include=["unfinishd"])


def test_several_versions_of_the_code_are_told(writer):
    study = writer("codes")
    study.run(study.variant("DQN"), "lake", 0, 50)
    study.run(study.variant("DQN"), "lake", 1, 50, code="0ther")
    assert any("2 versions of the code" in note for note in load(study.plan()).notes)


def test_keys_in_which_all_off_differs_from_the_base_are_told(writer):
    study = writer("all-off")
    off = study.variant("Rainbow - all", schema.LEAVE_ONE_OUT, overrides={"lr": 0.1})
    study.run(off, "lake", 0, 50)
    notes = load(study.plan()).notes
    assert any(
        'Rainbow - all is not DQN; these settings differ: {"lr": 0.1}' in note for note in notes
    )


def test_order_of_labels(writer):
    study = writer("order")
    sweep = study.variant("DQN, lr=1", schema.SWEEP, base="DQN, lr=1", full="DQN, lr=1")
    added = study.variant("DQN + double", schema.ADD_ONE_IN, component="double")
    for one in (sweep, added, study.without("noisy"), study.variant("C51"), study.variant("DQN")):
        study.run(one, "lake", 0, 50)
    study.run(study.variant("Rainbow"), "lake", 0, 50)
    labels = ["Rainbow", "DQN", "C51", "Rainbow - noisy", "DQN + double", "DQN, lr=1"]
    assert load(study.plan()).labels == labels


def test_bad_folders_give_one_line_with_the_nearest_names(rainbow, writer, tmp_path):
    with pytest.raises(AnalysisError, match=r"rainbo: no such file or folder; nearest: rainbow$"):
        load(rainbow.parent / "rainbo")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(
        AnalysisError, match=r"a folder without a format that is read; these are: .*plan\.json"
    ):
        load(empty)
    for content, message in (
        ("{", "cannot be read"),
        ('{"schema": 9, "runs": [1]}', "has schema 9, this version reads 2"),
        ('{"schema": 2, "study": "s", "runs": [], "cells": {}, "skipped": []}', "contains no run"),
        (
            '{"schema": 2, "study": "s", "runs": [{"run_id": "x", "job_id": "j"}]}',
            "runs.0 has no key 'variant'",
        ),
    ):
        (empty / "plan.json").write_text(content)
        with pytest.raises(AnalysisError, match=message):
            load(empty)


def test_missing_values_are_nan_never_zero(rainbow):
    first = load(rainbow).metrics.groupby("run_id", observed=True).first(skipna=False)
    assert first["loss/td"].isna().all()
    assert np.isfinite(first["train/return"]).all()


BROKEN_RECORDS = {
    "config is a list": {"config": [1]},
    "config.algo is a text": {"config": {"algo": "dqn", "env": {}}},
    "a score is a text": {"scores": {"random": "abc", "reference": 1}},
    "a score is no number": {"scores": {"random": float("nan"), "reference": 1}},
    "scores are a list": {"scores": [0, 1]},
    "the code is a number": {"code": 5},
    "the protocol is a list": {"protocol": ["p1"]},
    "the variant is null": {"variant": None},
}


@pytest.mark.parametrize("name", BROKEN_RECORDS)
def test_a_record_of_other_types_is_its_runs_fault(writer, name):
    study = writer("types")
    paths = [study.run(study.variant("DQN"), "lake", seed, 50) for seed in range(3)]
    edit(paths[0] / "run.json", **BROKEN_RECORDS[name])
    data = load(study.plan())
    assert data.runs.fault[0].startswith("run.json: ") and list(data.scored.seed) == [1, 2]


@pytest.mark.parametrize("line", ["5", "[]", '"a"', "[" * 100_000, "null", "1e999", "9" * 5000])
@pytest.mark.parametrize("name", ["metrics.jsonl", "timing.jsonl"])
def test_reading_a_run_raises_nothing(writer, name, line):
    path = writer("lines").run(writer("lines").variant("DQN"), "lake", 0, 50, parquet=False)
    (path / name).write_text(
        f'{line}\n{{"global_step": {line}}}\n{{"global_step": 1, "wall": {line}}}\n'
    )
    run = read_run(path)
    assert run.fault if name == "metrics.jsonl" else (run.notes and not run.fault)


@pytest.mark.parametrize("value", ["-30", "", "NaN", True, [1], {}, 10**400])
def test_only_a_number_is_a_score(writer, value):
    study = writer("texts")
    path = study.run(study.variant("DQN"), "lake", 0, 50, parquet=False)
    last_row(**{schema.FINAL_RETURN: value})(path)
    data = load(study.plan())
    assert data.scored.empty == (value is not True)
    if value is not True:
        assert "a value is not a number" in data.runs.fault[0]


def nth_row(n, **changes):
    def mutate(path):
        lines = (path / "metrics.jsonl").read_text().splitlines()
        lines[n] = json.dumps(json.loads(lines[n]) | changes)
        (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")

    return mutate


def test_an_infinite_evaluation_is_its_runs_fault_and_ranks_nowhere(writer):
    study = writer("infinite")
    for seed in range(3):
        path = study.run(study.variant("DQN"), "lake", seed, 50, parquet=False)
    nth_row(3, **{schema.EVAL_RETURN: float("inf")})(path)
    data = load(study.plan())
    assert data.runs.fault[2] == "eval/return is not finite at step 2000"
    assert list(data.scored.seed) == [0, 1]
    frame = curves.learning_curves(data, schema.EVAL_RETURN)
    assert np.isfinite(frame["mean"]).all()


def test_a_final_score_that_is_not_of_the_end_does_not_count(writer):
    study = writer("early")
    paths = [study.run(study.variant("DQN"), "lake", seed, 50, parquet=False) for seed in range(2)]
    nth_row(3, **{schema.FINAL_RETURN: 99.0})(paths[0])
    last_row(**{schema.FINAL_RETURN: None})(paths[0])
    data = load(study.plan())
    assert data.runs.excluded[0] == "finished, but its score is from step 2000 of 10000"
    assert list(data.scored.seed) == [1]


def test_a_curve_of_two_evaluations_among_full_ones_is_told(writer):
    study = writer("thin")
    for seed in range(3):
        path = study.run(study.variant("DQN"), "lake", seed, 50, parquet=False)
    for n in range(1, 19):
        nth_row(n, **{schema.EVAL_RETURN: None})(path)
    told = [note for note in load(study.plan()).notes if "thin curve" in note]
    assert told == [
        "DQN on lake, 1 run: thin curve, dqn-lake-s2 has 2 values of eval/return, others have 20"
    ]


def test_an_edit_of_either_row_file_is_seen_and_names_its_run(writer):
    study = writer("edited")
    paths = [study.run(study.variant("DQN"), "lake", seed, 50) for seed in range(4)]
    study.seal()
    text = (paths[0] / "metrics.jsonl").read_text()
    cut = text.rindex(".") + 1
    (paths[0] / "metrics.jsonl").write_text(text[:cut] + str(9 - int(text[cut])) + text[cut + 1 :])
    for name in ("metrics.jsonl", "metrics.parquet", "run.json", "status.json"):
        (paths[1] / name).rename(paths[1] / f"{name}.kept")
        (paths[2] / name).rename(paths[1] / name)
        (paths[1] / f"{name}.kept").rename(paths[2] / name)
    data = load(study.plan())
    assert list(data.runs.fault) == [
        "metrics.jsonl has changed since the run finished",
        "status.json is that of dqn-lake-s2",
        "status.json is that of dqn-lake-s1",
        "",
    ]
    assert list(data.scored.seed) == [3]


def test_times_that_have_changed_are_left_out_and_told(writer):
    study = writer("times")
    path = study.run(study.variant("DQN"), "lake", 0, 50)
    (path / "timing.jsonl").write_text('{"global_step": 500, "wall": 1.0, "cpu": 1.0}\n')
    study.seal()
    assert "time/wall" in load(study.plan()).metrics
    (path / "timing.jsonl").write_text('{"global_step": 500, "wall": 9.0, "cpu": 1.0}\n')
    data = load(study.folder)
    assert "time/wall" not in data.metrics and len(data.scored) == 1
    assert data.notes == [
        "dqn-lake-s0: timing.jsonl has changed since the run finished: no clock times"
    ]
