"""Real published data, through load to the report: Dopamine's Atari runs and Rainbow's Table 6."""

import numpy as np
import pandas as pd
import pytest

from prism.analysis.api import load
from prism.analysis.errors import AnalysisError
from prism.analysis.questions.compare import (
    AGREES,
    DIFFERS,
    NOT_COMPARED,
    NOT_TOLD,
    read_published,
    with_published,
)
from prism.analysis.questions.scores import AGGREGATES, HUMAN, normalised
from prism.benchmark.store import schema


@pytest.fixture(scope="module")
def table6(reference_data):
    wide = pd.read_csv(reference_data / "rainbow_table6_noops_54games.csv")
    return wide.melt("game", var_name="label", value_name="final").rename(columns={"game": "env"})


# Medians of 54 games, and the range that the three missing games leave for the 57-game median.
MEDIANS = {
    "DQN": (0.787, 0.769, 0.808), "DDQN": (1.152, 1.123, 1.310), "PriorDDQN": (1.374, 1.332, 1.472),
    "DuelDDQN": (1.474, 1.413, 1.582), "DistribDQN": (1.690, 1.411, 1.874),
    "NoisyDQN": (1.171, 1.137, 1.278), "Rainbow": (2.270, 1.932, 2.321),
}  # fmt: skip


def test_rainbows_medians_of_human_normalised_scores(table6):
    study = load(table6.assign(seed=0))
    found = study.aggregate(HUMAN)
    medians = found[found.statistic == "median"].set_index("label")
    assert set(medians.environments) == {54}
    for label, (exact, low, high) in MEDIANS.items():
        assert medians.value[label] == pytest.approx(exact, abs=6e-4)
        assert low <= medians.value[label] <= high
    assert medians.low.isna().all()  # one score a game: no interval


def arrays(reference_data):
    data = np.load(reference_data / "dopamine_atari60_tf_jax.npz")
    scores = data["scores"][..., :199].astype(float)
    found = {str(agent): scores[:, i].transpose(1, 0, 2) for i, agent in enumerate(data["agents"])}
    return found, [str(game) for game in data["games"]]


@pytest.fixture(scope="module")
def dopamine(reference_data):
    found, games = arrays(reference_data)
    return load(found, tasks=games, steps=np.arange(1, 200) * 1_000_000)


# Final iteration, 55 games, human-normalised: median, IQM, mean, optimality gap.
DOPAMINE = {
    "C51": (1.092, 1.276, 3.105, 0.275), "Rainbow": (1.472, 1.693, 3.793, 0.218),
    "IQN": (1.288, 1.757, 4.145, 0.207), "DQN": (0.653, 0.754, 2.303, 0.414),
}  # fmt: skip


def test_dopamines_sixty_games(dopamine):
    assert dopamine.data.counts()["scored"] == 60 * 6 * 5
    chosen = dopamine.scores[~dopamine.scores.env.isin(["defender", "surround"])].copy()
    found = normalised(chosen, HUMAN)
    pinball = found.env == "videopinball"  # the oracle's table has random = 0 there
    raw = chosen.final[found.index[pinball]]
    found.loc[pinball, "final"] = raw / 17667.9
    assert found.env.nunique() == 55
    for label, expected in DOPAMINE.items():
        mine = found[found.label == label]
        tasks = [group.final.to_numpy(float) for _, group in mine.groupby("env")]
        values = [float(statistic(tasks)) for statistic in AGGREGATES.values()]
        assert values == pytest.approx(expected, abs=6e-4)


def test_one_game_lost_or_cut_is_told(reference_data):
    found, games = arrays(reference_data)
    found["DQN"][2, 7] = np.nan
    found["C51"][1, 3, 100:] = np.nan
    study = load(found, tasks=games)
    excluded = study.runs[study.runs.excluded != ""]
    assert list(excluded.run_id) == [f"DQN/{games[7]}/2", f"C51/{games[3]}/1"]
    assert list(excluded.excluded) == ["missing", "finished, but its rows end at step 100 of 199"]


def test_dopamines_ablation_runs_over_all_games(dopamine):
    table = dopamine.ablation()
    final = table[table.metric == "final"]
    assert len(final) == 60 * 6
    assert final.p_adjusted.notna().sum() == 60 * 5


@pytest.fixture(scope="module")
def td3(reference_data):
    rows = []
    for path in sorted((reference_data / "td3_curves").glob("TD3_*.npy")):
        _, env, seed = path.stem.split("_")
        values = np.load(path)
        steps = np.arange(len(values)) * 5_000
        columns = {"label": "TD3", "env": env, "seed": int(seed), schema.STEP: steps}
        rows.append(pd.DataFrame({**columns, schema.EVAL_RETURN: values}))
    frame = pd.concat(rows)
    last = frame.groupby(["env", "seed"])[schema.EVAL_RETURN].apply(lambda x: x.tail(10).mean())
    return load(frame.merge(last.rename("final").reset_index(), on=["env", "seed"]))


# Fujimoto et al. 2018, Table 2: average of the last 10 evaluations, 10 seeds.
TD3 = {
    "HalfCheetah-v1": 9532.99, "Hopper-v1": 3304.75, "Walker2d-v1": 4565.24, "Ant-v1": 4185.06,
}  # fmt: skip


def test_td3s_published_numbers(td3, tmp_path):
    means = td3.scores.groupby("env").final.mean()
    for env, published in TD3.items():
        assert means[env] == pytest.approx(published, abs=0.06)
    source = "Fujimoto et al. 2018, Table 2"
    rows = [("TD3", env, score, source) for env, score in TD3.items()]
    rows += [("TD3", "Hopper-v1", 1731.94, "the same, DDPG")]
    path = tmp_path / "published.csv"
    pd.DataFrame(rows, columns=["label", "env", "score", "source"]).to_csv(path, index=False)
    found = with_published(td3.data, read_published(str(path)))
    assert set(found.verdict[:4]) <= {AGREES, NOT_TOLD}  # ten runs do not fill every margin
    assert list(found.verdict[4:]) == [DIFFERS]
    found = with_published(td3.data, read_published(str(path)), margin=1.0)
    assert list(found.verdict[:4]) == [AGREES] * 4
    assert set(found.method) == {"published number treated as exact"}


def test_published_rows_that_match_nothing_are_listed_with_the_nearest_names(td3, tmp_path):
    rows = [("TD3", "Hopper-v1", 3304.75), ("TD33", "Hopper-v1", 1), ("TD3", "Hoper-v1", 1)]
    published = pd.DataFrame(rows, columns=["label", "env", "score"]).assign(source="x")
    found = with_published(td3.data, published)
    assert list(found.verdict) == [NOT_TOLD, NOT_COMPARED, NOT_COMPARED]
    assert found.note[1] == "no label 'TD33'; nearest: TD3"
    assert found.note[2].startswith("no environment 'Hoper-v1'; nearest: Hopper-v1")
    lone = load(td3.runs[td3.runs.seed == 0][["label", "env", "seed", "final"]])
    found = with_published(lone.data, published)
    assert (found.verdict[0], found.note[0]) == (NOT_COMPARED, "only 1 run of ours")


def test_a_published_number_must_be_one(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("label,env,score,sd,source\nTD3,Hopper-v1,1,,x\nTD3,Ant-v1,10±1,2,x\n")
    with pytest.raises(AnalysisError, match="row 3: score '10±1' is not a number"):
        read_published(str(path))


def test_a_published_number_without_a_source_is_refused(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("label,env,score,source\nTD3,Hopper-v1,1,\n")
    with pytest.raises(AnalysisError, match="row 2 has no source"):
        read_published(str(path))
