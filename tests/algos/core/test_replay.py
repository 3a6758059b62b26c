"""The buffer against a brute-force model that keeps every lane's episodes as lists."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from prism.algos.core.agent import Step
from prism.algos.core.replay import ReplayBuffer
from prism.algos.core.samplers import Latest, Uniform

GAMMA = 0.9
SPACE = spaces.Box(-np.inf, np.inf, (2,), np.float32)


@dataclass
class Tick:
    obs: list[float]
    action: int
    reward: float
    terminated: bool
    truncated: bool
    successor: list[float]


class Model:
    """Random episodes of K seeds and N lanes; an observation is [its own number, seed + lane / 8].

    Args:
        ends: per seed, probabilities of termination and of truncation at a tick.
    """

    def __init__(
        self, lanes: int, ends: list[tuple[float, float]], space: spaces.Box = SPACE
    ) -> None:
        self.lanes, self.ends, self.space, self.k = lanes, list(ends), space, len(ends)
        self.rng, self.number = np.random.default_rng(0), 0
        self.history: list[list[list[Tick]]] = [[[] for _ in range(lanes)] for _ in ends]
        self.current = [[self.observe(k, n) for n in range(lanes)] for k in range(self.k)]

    def observe(self, k: int, lane: int) -> list[float]:
        self.number += 1
        if self.space.dtype == np.uint8:
            return self.rng.integers(0, 256, self.space.shape).tolist()
        return [float(self.number), k + lane / 8]

    def tick(self) -> Step:
        row: list[list[Tick]] = []
        for k, (end, cut) in enumerate(self.ends):
            row.append([])
            for lane in range(self.lanes):
                u = self.rng.random()
                terminated, truncated = bool(u < end), bool(end <= u < end + cut)
                now = Tick(
                    self.current[k][lane],
                    int(self.rng.integers(4)),
                    float(np.float32(self.rng.normal())),
                    terminated,
                    truncated,
                    self.observe(k, lane),
                )
                self.current[k][lane] = (
                    self.observe(k, lane) if terminated or truncated else now.successor
                )
                self.history[k][lane].append(now)
                row[-1].append(now)

        def stack(name: str, dtype: torch.dtype) -> Tensor:
            return torch.tensor([[getattr(t, name) for t in lane] for lane in row], dtype=dtype)

        image = torch.uint8 if self.space.dtype == np.uint8 else torch.float32
        return Step(
            obs=stack("obs", image),
            next_obs=stack("successor", image),
            action=stack("action", torch.int64),
            reward=stack("reward", torch.float32),
            terminated=stack("terminated", torch.bool),
            truncated=stack("truncated", torch.bool),
            valid=torch.ones(self.k, self.lanes, dtype=torch.bool),
            memo={},
        )

    def window(self, k: int, lane: int, t: int, n: int) -> dict[str, Any]:
        """Return the n-step transition that starts at tick ``t``."""
        ticks, total, discount = self.history[k][lane], 0.0, 1.0
        for i in range(n):
            tick = ticks[t + i]
            total += GAMMA**i * tick.reward
            discount *= GAMMA
            if tick.terminated:
                discount = 0.0
            if tick.terminated or tick.truncated:
                break
        first = ticks[t]
        return {
            "obs": first.obs,
            "action": first.action,
            "reward": total,
            "discount": discount,
            "next_obs": tick.successor,
        }


def filled(model: Model, capacity: int, n: int, ticks: int) -> ReplayBuffer:
    buffer = ReplayBuffer(model.k, model.lanes, model.space, ((), np.int64), capacity, n, GAMMA)
    for _ in range(ticks):
        buffer.add(model.tick())
    return buffer


def every_start(buffer: ReplayBuffer) -> Tensor:
    return torch.arange(buffer.oldest, buffer.oldest + len(buffer))


def compare(buffer: ReplayBuffer, model: Model, n: int) -> int:
    """Check every window that can be sampled; return how many end in a truncation."""
    starts = every_start(buffer)
    batch = buffer.gather((starts % buffer.size).expand(model.k, -1), n)
    cut = 0
    for k in range(model.k):
        for b, start in enumerate(starts.tolist()):
            t, lane = divmod(start, model.lanes)
            expected = model.window(k, lane, t, n)
            assert batch.obs[k, b].tolist() == expected["obs"]
            assert int(batch.action[k, b]) == expected["action"]
            assert float(batch.reward[k, b]) == pytest.approx(expected["reward"], abs=1e-5)
            assert float(batch.discount[k, b]) == pytest.approx(expected["discount"], abs=1e-6)
            if expected["discount"]:
                assert batch.next_obs[k, b].tolist() == expected["next_obs"]
                cut += expected["discount"] > GAMMA**n + 1e-9
    return cut


ENDS = [(0.1, 0.1), (0.0, 0.25), (0.25, 0.0), (0.0, 0.0)]  # a seed without any truncation too


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("lanes", [1, 3])
def test_windows_equal_brute_force(lanes: int, n: int) -> None:
    """Before the buffer is full, when it just is, and after it wrapped more than once."""
    model, cut = Model(lanes, ENDS), 0
    buffer = filled(model, 20 * lanes, n, 0)
    for tick in range(1, 75):
        buffer.add(model.tick())
        if tick in (1, n, 19, 20, 21, 22, 24, 25, 26, 27, 40, 61, 74):
            cut += compare(buffer, model, n)
            compare(buffer, model, 1)  # shorter windows of the same buffer
    assert cut or n == 1


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("lanes", [1, 3])
def test_a_single_truncation_of_one_seed_is_found(which: int, lanes: int) -> None:
    model = Model(lanes, [(0.0, 0.0)] * 2)
    buffer = filled(model, 12 * lanes, 3, 5)
    model.ends[which] = (0.0, 1.0)
    buffer.add(model.tick())
    model.ends[which] = (0.0, 0.0)
    for _ in range(3):
        buffer.add(model.tick())
    assert compare(buffer, model, 3) == 2 * lanes  # the windows that the truncation shortens
    assert int((buffer.truncation > 0).sum()) == lanes


def test_every_tick_truncated_and_side_table_bounded() -> None:
    """The table grows with the live truncations, and freed slots are used again."""
    model = Model(2, [(0.0, 1.0), (0.0, 0.1)])
    buffer, sizes = filled(model, 16, 2, 0), []
    for _ in range(100):
        buffer.add(model.tick())
        sizes.append(buffer.truncated_obs.shape[1])
    compare(buffer, model, 2)
    live = buffer.rows * buffer.lanes
    assert sizes == sorted(sizes) and live <= sizes[-1] <= 4 * live
    assert sizes[-1] == sizes[len(sizes) // 2]  # no growth once the buffer has wrapped
    model.ends[0] = (0.0, 0.05)
    for _ in range(60):
        buffer.add(model.tick())
    compare(buffer, model, 2)
    assert buffer.truncated_obs.shape[1] == sizes[-1]


@pytest.mark.parametrize("n", [1, 3])
def test_incomplete_and_overwritten_starts_are_never_sampled(n: int) -> None:
    model = Model(2, ENDS)
    buffer = filled(model, 20, n, 0)
    uniform, latest = Uniform(buffer, [0, 1, 2, 3], 64), Latest(buffer, [0, 1, 2, 3])
    starts: set[int] = set()
    for written in range(1, 60):
        buffer.add(model.tick())
        complete = written - n + 1  # ticks whose whole window is written
        expected = range(max(0, written - buffer.rows + 1), complete)
        assert len(buffer) == 2 * max(len(expected), 0)
        if not len(buffer):
            continue
        assert buffer.oldest == 2 * expected.start
        allowed = {(2 * t + lane) % buffer.size for t in expected for lane in range(2)}
        index, weight = uniform.sample(0.0)
        assert set(index.flatten().tolist()) <= allowed and (weight == 1).all()
        starts |= {int(i) - buffer.oldest % buffer.size for i in index[0]}
        newest, _ = latest.sample(0.0)
        assert newest[0].tolist() == [
            (2 * (complete - 1) + lane) % buffer.size for lane in range(2)
        ]
    assert len(buffer) == 20 and buffer.size > 20
    frequent = torch.bincount(
        torch.cat([uniform.sample(0.0)[0].flatten() for _ in range(200)]), minlength=buffer.size
    )
    assert sorted(frequent.nonzero().flatten().tolist()) == sorted(allowed)
    assert float(frequent[frequent > 0].double().std()) < 4 * (200 * 256 / 20) ** 0.5


def test_capacity_counts_transitions_that_can_be_sampled() -> None:
    for capacity, lanes, n in ((1, 1, 1), (1, 1, 5), (20, 3, 4), (20, 4, 1)):
        buffer = filled(Model(lanes, [(0.1, 0.1)]), capacity, n, 100)
        assert len(buffer) == max(1, capacity // lanes) * lanes


@pytest.mark.parametrize(
    ("space", "dtype"),
    [
        (spaces.Box(0, 255, (3, 4, 4), np.uint8), torch.uint8),
        (spaces.Box(0, 1, (3, 4, 4), np.bool_), torch.bool),
        (SPACE, torch.float32),
        (spaces.Box(-1, 1, (2,), np.float64), torch.float32),
    ],
)
def test_bytes_stay_bytes(space: spaces.Box, dtype: torch.dtype) -> None:
    buffer = ReplayBuffer(2, 1, space, ((), np.int64), 8, 1, GAMMA)
    state = buffer.state()
    assert state["obs"].dtype == state["truncated_obs"].dtype == dtype
    assert buffer.gather(torch.zeros(2, 3, dtype=torch.int64)).next_obs.dtype == dtype


def test_windows_of_frames_equal_brute_force() -> None:
    model = Model(2, ENDS[:2], spaces.Box(0, 255, (3,), np.uint8))
    buffer = filled(model, 24, 3, 70)
    assert compare(buffer, model, 3)


@pytest.mark.parametrize("ticks", [0, 1, 7, 40])
def test_state_and_load(ticks: int) -> None:
    model = Model(2, ENDS)
    buffer = filled(model, 20, 3, ticks)
    other = ReplayBuffer(model.k, 2, SPACE, ((), np.int64), 20, 3, GAMMA)
    other.load({k: v.clone() if isinstance(v, Tensor) else v for k, v in buffer.state().items()})
    for _ in range(15):
        step = model.tick()
        buffer.add(step)
        other.add(step)
        compare(other, model, 3)
        index = (every_start(buffer) % buffer.size).expand(model.k, -1)
        for a, b in zip(buffer.gather(index), other.gather(index), strict=True):
            assert torch.equal(a, b)
