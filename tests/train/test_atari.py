"""Atari through the harness: the tuned files of DQN, Rainbow and PPO on real frames."""

import pytest
import torch

from prism.benchmark.plan.grid import sweep
from prism.benchmark.store.job import Job
from prism.benchmark.train.build import build_agent
from tests.helpers import CPU
from tests.runs import finished, metrics

pytest.importorskip("ale_py", reason="ale_py is not installed: pip install 'prism-rl[atari]'")
pytest.importorskip("cv2", reason="OpenCV is not installed: pip install 'prism-rl[atari]'")

BUFFER = ("algo.buffer_size=300", "algo.learning_starts=64")
WORDS = {
    "dqn": BUFFER,
    "rainbow": BUFFER,
    "ppo": ("algo.lanes=2", "algo.rollout=64", "algo.batch_size=32"),
}
FILE = {"dqn": "dqn_family_atari", "rainbow": "dqn_family_atari", "ppo": "ppo_atari"}
SHORT = (
    *("budget=128", "log_every=64", "tracking=disabled", "evaluation.episodes=1"),
    *("evaluation.every=0", "env.horizon=40"),
)


def planned(algo: str, *words: str) -> Job:
    (job,) = sweep((f"algo={algo}", "env=atari", *words)).jobs
    assert job.tuned == FILE[algo]
    return job


@pytest.mark.slow
@pytest.mark.parametrize("algo", WORDS)
def test_a_short_run_learns_from_frames(algo: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    job = planned(algo, *WORDS[algo], *SHORT, f"results={tmp_path}")
    (rows,) = metrics(finished(job))
    assert b'"loss/' in rows and b"NaN" not in rows


@pytest.mark.parametrize("algo", WORDS)
def test_the_network_is_that_of_mnih_et_al_2015(algo: str) -> None:
    """Three convolutions and one layer of 512, of policy and value together: 1.7 million."""
    few = ("algo.buffer_size=300",) if algo != "ppo" else ()
    agent = build_agent(planned(algo, *few).spec, [0], CPU)
    net = agent.learner.online  # type: ignore[attr-defined]
    shapes = [tuple(c.weight.shape[1:]) for c in net.modules() if hasattr(c, "stride")]
    assert shapes == [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3)]
    if algo != "rainbow":
        count = sum(p[0].numel() for p in net.parameters())
        convolutions, hidden = 8_224 + 32_832 + 36_928, (64 * 7 * 7 + 1) * 512
        assert count == convolutions + hidden + (6 + (algo == "ppo")) * 513
    frames = torch.full((1, 8, 4, 84, 84), 128, dtype=torch.uint8)
    assert agent.act(frames, explore=False)[0].shape == (1, 8)
