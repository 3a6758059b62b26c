"""Every source gives the same two frames, or one line that says what is wrong."""

import numpy as np
import pandas as pd
import pytest

from prism.analysis.cli import main
from prism.analysis.errors import AnalysisError
from prism.analysis.load import sources
from prism.analysis.load.data import load
from prism.analysis.load.frames import REQUIRED, Frames
from prism.benchmark.store import schema


def as_table(data):
    """Return a loaded study as somebody else's table would have it."""
    runs = data.runs[["run_id", "label", "env", "seed", "random", "reference"]]
    return data.metrics.astype({"run_id": str}).merge(runs, on="run_id")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_of_a_study_gives_what_the_study_gives(rainbow, tmp_path, ending):
    one = load(rainbow)
    path = tmp_path / f"others.{ending}"
    frame = as_table(one).sample(frac=1, random_state=np.random.default_rng(0))
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    two = load(path)
    columns = ["label", "env", "seed", "budget", "final", "random", "reference", "excluded"]
    first, second = (data.runs.set_index("run_id").sort_index()[columns] for data in (one, two))
    pd.testing.assert_frame_equal(first, second)
    keys = ["run_id", schema.STEP]
    rows = [
        d.metrics.astype({"run_id": str}).sort_values(keys, ignore_index=True) for d in (one, two)
    ]
    pd.testing.assert_frame_equal(rows[0], rows[1][rows[0].columns])
    assert two.studies == ("others",)


def test_rows_without_steps_are_whole_runs():
    data = load(
        pd.DataFrame({"algo": ["A", "A"], "env": "lake", "seed": [0, 1], "final": [1, 2.0]})
    )
    assert list(data.scored.final) == [1, 2]
    assert list(data.scored.label) == ["A", "A"]


def test_arrays_with_and_without_steps(tmp_path):
    scores = np.arange(24, dtype=float).reshape(2, 3, 4)
    np.savez(tmp_path / "atari.npz", DQN=scores, tasks=["a", "b", "c"], steps=[10, 20, 30, 40])
    data = load(tmp_path / "atari.npz")
    assert data.envs == ["a", "b", "c"]
    assert set(data.runs.budget) == {40}
    assert list(data.scored.final) == [3, 15, 7, 19, 11, 23]
    flat = load({"DQN": scores[..., -1]}, tasks=["a", "b", "c"])
    assert list(flat.scored.final) == list(data.scored.final)
    assert len(data.metrics) == 24


def test_missing_values_of_arrays_are_missing_or_unfinished_runs():
    scores = np.ones((3, 1, 4))
    scores[0] = np.nan
    scores[1, 0, 2:] = np.nan
    data = load({"DQN": scores})
    assert list(data.runs.excluded) == ["missing", "finished, but its rows end at step 2 of 4", ""]
    assert list(data.runs.flag) == ["", "unfinished", ""]


def test_a_runs_last_evaluation_stands_for_its_score_and_is_told():
    frame = pd.DataFrame(
        {"label": "A", "env": "e", "seed": 0, "global_step": [1, 2], "eval/return": [3, 4]}
    )
    data = load(frame)
    assert list(data.scored.final) == [4]
    assert any("last eval/return" in note for note in data.notes)


def curve_of(every, last, metric="eval/return", budget=1000):
    """A run whose rows reach the budget; the metric is known every so many steps, up to last."""
    steps = np.arange(0, budget + 1, 100)
    values = np.where((steps % every == 0) & (steps <= last), steps, np.nan)
    return pd.DataFrame({"global_step": steps, metric: values, "loss/td": 1.0})


@pytest.mark.parametrize(
    ("every", "last", "metric", "reason"),
    [
        (100, 1000, "eval/return", ""),
        (300, 900, "eval/return", ""),  # the next would lie behind the budget
        (100, 500, "eval/return", "finished, but its score is from step 500 of 1000"),
        (100, 500, "train/return", "finished, but its score is from step 500 of 1000"),
        (1000, 1000, "final/return", ""),
        (900, 900, "final/return", "finished, but its score is from step 900 of 1000"),
    ],
)
def test_a_run_whose_evaluations_end_early_is_unfinished(every, last, metric, reason):
    whole, cut = curve_of(100, 1000, metric), curve_of(every, last, metric)
    frame = pd.concat([whole.assign(seed=0), cut.assign(seed=1)]).assign(label="A", env="e")
    data = load(frame)
    assert list(data.runs.excluded) == ["", reason]
    assert list(data.runs.flag) == ["", "unfinished" if reason else ""]
    assert data.runs.final[1] == last


ROW = {"label": ["A", "A"], "env": ["e", "e"], "seed": [0, 1], "final": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"env": None}, "no column 'env'"),
        ({"final": None}, "no score: one column must be called final"),
        ({"seed": [0, 0]}, "has two rows with the same global_step"),
        ({"seed": [0, np.nan]}, "row 3 has no seed"),
        ({"eval/return": ["x", "y"]}, "column 'eval/return' holds a value that is not a number"),
        (
            {"seed": [0, 0], "global_step": [1, 2], "final": 1.0, "random": [1, 2]},
            "random changes within a run",
        ),
        ({"seed": [0, 0], "global_step": [1, 2]}, "final changes within a run"),
        ({"seed": [0.5, 1]}, r"x.csv: seed 0.5 of A/e/0.5 is not an integer"),
        ({"seed": ["0", "s1"]}, "x.csv: seed 's1' of A/e/s1 is not an integer"),
        ({"global_step": [1, np.nan]}, "x.csv: row 3: global_step nan is not an integer"),
        ({"global_step": [0.5, 1]}, "x.csv: row 2: global_step 0.5 is not an integer"),
    ],
)
def test_a_bad_table_is_one_line(tmp_path, change, message):
    columns = {key: value for key, value in (ROW | change).items() if value is not None}
    pd.DataFrame(columns).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(AnalysisError, match=message) as caught:
        load(tmp_path / "x.csv")
    assert "\n" not in str(caught.value)


def spoil(path):
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (spoil, r"x.npz: cannot be read \("),
        (lambda path: np.savez(path, A=[["a", "b"]]), "x.npz: A holds a value that is not a num"),
        (lambda path: np.savez(path, A=np.ones((2, 0))), "x.npz: A is empty"),
        (lambda path: np.savez(path, A=[1.0, 2]), r"every array must be \[runs, tasks\]"),
        (lambda path: np.savez(path, A=[[1.0]], random=["x"]), "random holds a value that"),
    ],
)
def test_bad_arrays_are_one_line(tmp_path, write, message):
    np.savez(tmp_path / "x.npz", A=np.ones((5, 3)), B=np.ones((5, 3)))
    write(tmp_path / "x.npz")
    with pytest.raises(AnalysisError, match=message) as caught:
        load(tmp_path / "x.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["run.csv", "run.npz", "run.parquet"])
def test_a_file_that_is_not_there(tmp_path, name):
    (tmp_path / name.replace("run", "runs")).write_text("")
    with pytest.raises(AnalysisError, match=r"no such file or folder; nearest: .*runs\."):
        load(tmp_path / name)
    with pytest.raises(AnalysisError, match="cannot be read"):
        load(tmp_path / name.replace("run", "runs"))


def test_one_more_source_is_one_more_module(monkeypatch):
    """The seam: ``accepts`` and ``read``; what a source does not know is filled in."""

    class Mine:
        @staticmethod
        def accepts(where):
            return where.startswith("mine:")

        @staticmethod
        def read(where):
            runs = pd.DataFrame(
                {"run_id": ["x"], "label": ["A"], "env": ["e"], "seed": [3], "final": 1.0}
            )
            steps = pd.DataFrame({"run_id": pd.Categorical(["x"]), schema.STEP: [7]})
            return Frames(runs, steps)

    monkeypatch.setattr(sources, "SOURCES", {"mine": Mine, **sources.SOURCES})
    data = load("mine:somewhere")
    assert data.scored.iloc[0][["budget", "state", "base"]].tolist() == [7, "finished", "A"]
    for column in REQUIRED:
        frames = Mine.read("")
        frames.runs = frames.runs.drop(columns=column)
        monkeypatch.setattr(Mine, "read", lambda where, frames=frames: frames)
        with pytest.raises(AnalysisError, match=f"no column '{column}'"):
            load("mine:")
        monkeypatch.undo()
        monkeypatch.setattr(sources, "SOURCES", {"mine": Mine, **sources.SOURCES})


@pytest.mark.parametrize("word", ["None", "NA", "nan", "null", "N/A"])
def test_words_for_nothing_are_names(tmp_path, word):
    path = tmp_path / "x.csv"
    path.write_text(f"label,env,seed,final\n{word},{word},0,1\nDQN,{word},0,NaN\n")
    data = load(path)
    assert data.labels == [word, "DQN"] and data.envs == [word]
    assert data.runs.excluded.tolist() == ["", "finished without final/return"]


@pytest.mark.parametrize("first", [0, 2**53, 2**64])
def test_seeds_of_any_size_are_told_apart(tmp_path, first):
    path = tmp_path / "x.csv"
    rows = [f"{label},e,{first + k},{k}" for label in "AB" for k in range(4)]
    path.write_text("\n".join(["label,env,seed,final", *rows]))
    data = load(path)
    assert data.runs.seed.tolist() == [first + k for k in range(4)] * 2
    assert main(["table", str(path)]) == 0 and main(["export", str(path), "--out", f"{path}-"]) == 0
    assert load(f"{path}-").runs.seed.tolist() == data.runs.seed.tolist()


@pytest.mark.parametrize(
    ("name", "encoding", "text"),
    [
        ("x.CSV", "utf-8-sig", "label,env,seed,final\nDQNé,e,0,1.5\n"),
        ("x.csv", "utf-16", "label,env,seed,final\nDQNé,e,0,1.5\n"),
        ("x.csv", "latin-1", "label,env,seed,final\nDQNé,e,0,1.5\n"),
        ("x.csv", "utf-8", "label;env;seed;final\nDQNé;e;0;1,5\n"),
        ("x.csv", "utf-8", "label;env;seed;final\nDQNé;e;0;1.5\n"),
        ("x.csv", "utf-8", "label\tenv\tseed\tfinal\nDQNé\te\t0\t1.5\n"),
    ],
)
def test_spreadsheets_write_csv_in_many_ways(tmp_path, name, encoding, text):
    (tmp_path / name).write_bytes(text.encode(encoding))
    runs = load(tmp_path / name).scored
    assert runs[["label", "env", "seed", "final"]].to_numpy().tolist() == [["DQNé", "e", 0, 1.5]]


def test_text_that_is_not_needed_is_left_out_and_told(tmp_path):
    frame = pd.DataFrame(ROW | {"host": "node", "state": ["Finished", "crashed"], "loss": [1, 2]})
    frame.to_csv(tmp_path / "x.csv", index=False)
    data = load(tmp_path / "x.csv")
    assert any("columns of text are left out: host" in note for note in data.notes)
    assert data.runs.excluded.tolist() == ["", "crashed"] and "loss" in data.metrics


def test_without_a_plan_only_n_is_told_and_the_seeds_that_others_have():
    rows = [("A", seed) for seed in range(3)] + [("B", seed) for seed in (0, 7)]
    frame = pd.DataFrame(rows, columns=["label", "seed"]).assign(env="e", final=1.0)
    data = load(frame)
    assert data.counts() == {"scored": 5}
    assert "e: A without seeds that other labels have: 7" in data.notes
    assert "e: B without seeds that other labels have: 1, 2" in data.notes


def test_what_export_writes_is_read_back_equal(writer, tmp_path, capsys):
    study = writer("mixed")
    study.rainbow(seeds=3, parts=1)
    full = study.variant("Rainbow")
    study.run(full, "lake", 3, 100, state=schema.FAILED, until=0.5)
    study.run(full, "lake", 4, 100, state="missing")
    study.run(full, "lake", 5, 100, budget=5_000)
    folder = str(study.plan())
    assert main(["export", folder, "--out", str(tmp_path / "out")]) == 0
    printed = {}
    for where in (folder, str(tmp_path / "out"), str(tmp_path / "out" / "runs.csv")):
        capsys.readouterr()
        assert main(["table", where]) == 0
        printed[where] = capsys.readouterr().out
    one, *others = (text.splitlines() for text in printed.values())
    assert all([x for x in one if "digests" not in x] == other for other in others)
    assert sum("excluded:" in line for line in one) == 3
    ours, theirs = load(folder), load(tmp_path / "out")
    pd.testing.assert_frame_equal(
        *(
            x[ours.runs.columns].astype(object).fillna("").astype(str)
            for x in (ours.runs, theirs.runs)
        )
    )
    assert len(ours.metrics) == len(theirs.metrics)
