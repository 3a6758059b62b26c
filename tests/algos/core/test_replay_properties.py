"""The replay buffer against lists of transitions, over random episodes, sizes and windows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prism.algos.core.agent import Step
from prism.algos.core.replay import Batch
from prism.algos.core.replay import ReplayBuffer as Replay
from prism.algos.core.samplers import Latest
from tests.helpers import examples

GAMMA = 0.9
SPACE = spaces.Box(-np.inf, np.inf, (2,), np.float32)
GOES_ON, ENDS, CUT, BOTH = range(4)  # what may happen to an episode at a tick


@dataclass
class Case:
    """Sizes of a buffer, and what happens ``[T, K, N]``."""

    capacity: int
    n: int
    events: np.ndarray

    def buffer(self) -> Replay:
        _, k, lanes = self.events.shape
        return Replay(k, lanes, SPACE, ((), np.int64), self.capacity, self.n, GAMMA)

    def cuts(self) -> np.ndarray:
        """Return ``[T, K, N]``: whether a successor has to be kept."""
        return self.events == CUT

    def step(self, t: int) -> Step:
        """Return tick t; an observation is [tick, place], a successor half a tick later."""
        _, k, lanes = self.events.shape
        place = np.broadcast_to(
            np.arange(k * lanes, dtype=np.float32).reshape(k, lanes), (k, lanes)
        )
        event = self.events[t]
        goes_on = event == GOES_ON
        obs = np.stack([np.full((k, lanes), t, np.float32), place], -1)
        # the successor of an episode that goes on is the next tick's observation
        after = np.stack([np.where(goes_on, t + 1, t + 0.5).astype(np.float32), place], -1)
        return Step(
            obs=torch.from_numpy(obs),
            next_obs=torch.from_numpy(after),
            action=torch.from_numpy((7 * t + place).astype(np.int64)),
            reward=torch.from_numpy((place + 1) * np.float32(0.25 * t - 3)),
            terminated=torch.from_numpy((event == ENDS) | (event == BOTH)),
            truncated=torch.from_numpy((event == CUT) | (event == BOTH)),
            valid=torch.ones(k, lanes, dtype=torch.bool),
            memo={},
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    k, lanes = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    ticks = draw(st.integers(1, 40))
    # mostly going on: fill is what an element is that was not drawn
    events = arrays(np.int8, (ticks, k, lanes), elements=st.integers(0, 3), fill=st.just(GOES_ON))
    return Case(draw(st.integers(1, 30)), draw(st.integers(1, 4)), draw(events))


def window(steps: list[Step], k: int, lane: int, start: int, n: int) -> dict[str, Any]:
    """Return the transition of at most n steps from tick ``start``, added up one by one."""
    total, discount = 0.0, 1.0
    for step in steps[start : start + n]:
        total += discount * float(step.reward[k, lane])
        discount *= GAMMA
        successor = step.next_obs[k, lane]
        if step.terminated[k, lane]:
            discount = 0.0
        if step.terminated[k, lane] or step.truncated[k, lane]:
            break
    first = steps[start]
    return {
        "obs": first.obs[k, lane],
        "action": first.action[k, lane],
        "reward": total,
        "discount": discount,
        "next_obs": successor,
    }


def check(batch: Batch, places: list[int], steps: list[Step], n: int) -> None:
    k, lanes = steps[0].reward.shape
    for seed in range(k):
        for b, place in enumerate(places):
            start, lane = divmod(place, lanes)
            wanted = window(steps, seed, lane, start, n)
            assert batch.obs[seed, b].tolist() == wanted["obs"].tolist()
            assert batch.action[seed, b] == wanted["action"]
            assert float(batch.reward[seed, b]) == pytest.approx(wanted["reward"], abs=1e-4)
            assert float(batch.discount[seed, b]) == pytest.approx(wanted["discount"], abs=1e-6)
            if wanted["discount"]:
                assert batch.next_obs[seed, b].tolist() == wanted["next_obs"].tolist()


@examples(60)
@given(cases(), st.data())
def test_every_window_is_what_happened(case: Case, data: st.DataObject) -> None:
    """At some tick after some: the starts that are left, and their windows of every length."""
    buffer, steps, most = case.buffer(), [], 0
    lanes, per_lane = case.events.shape[2], max(1, case.capacity // case.events.shape[2])
    looks = data.draw(st.sets(st.integers(0, len(case.events) - 1), min_size=1, max_size=3))
    for t in range(max(looks) + 1):
        steps.append(case.step(t))
        buffer.add(steps[-1])
        live = case.cuts()[max(0, t + 1 - buffer.rows) : t + 1].sum((0, 2)).max()
        most = max(most, live + lanes)
        assert buffer.truncated_obs.shape[1] <= 2 * most  # the side table does not grow for ever
        end = len(steps) - case.n + 1  # of the ticks whose longest window is complete
        starts = range(max(0, len(steps) - case.n + 1 - per_lane), max(0, end))
        places = [tick * lanes + lane for tick in starts for lane in range(lanes)]
        assert len(buffer) == len(places)
        if places and t in looks:
            assert buffer.oldest == places[0]
            index = torch.tensor(places).remainder(buffer.size).expand(buffer.k, -1)
            for n in range(1, case.n + 1):
                check(buffer.gather(index, n), places, steps, n)
            newest, _ = Latest(buffer, list(range(buffer.k))).sample(0.0)
            check(buffer.gather(newest), places[-lanes:], steps, case.n)


@examples(60)
@given(cases(), st.data())
def test_a_copy_goes_on_as_the_original(case: Case, data: st.DataObject) -> None:
    """``state`` taken at any tick, loaded into an empty buffer, is the buffer from there on."""
    one, other = case.buffer(), case.buffer()
    at = data.draw(st.integers(0, len(case.events)))
    for t in range(len(case.events)):
        if t == at:
            other.load(
                {k: torch.clone(v) if torch.is_tensor(v) else v for k, v in one.state().items()}
            )
        one.add(case.step(t))
        if t >= at:
            other.add(case.step(t))
    if at < len(case.events) and len(one):
        places = torch.arange(one.oldest, one.oldest + len(one)).remainder(one.size)
        index = places.expand(one.k, -1)
        for a, b in zip(one.gather(index), other.gather(index), strict=True):
            assert torch.equal(a, b)


@examples(60)
@given(cases())
def test_a_seed_is_alone(case: Case) -> None:
    """What a seed's buffer gives does not depend on the seeds beside it."""
    together = case.buffer()
    k = together.k
    alone = [Case(case.capacity, case.n, case.events[:, i : i + 1]).buffer() for i in range(k)]
    for t in range(len(case.events)):
        step = case.step(t)
        together.add(step)
        for i, buffer in enumerate(alone):
            fields = {f: v[i : i + 1] for f, v in step._asdict().items() if torch.is_tensor(v)}
            buffer.add(Step(**fields, memo={}))
    assert {len(buffer) for buffer in alone} == {len(together)}
    if len(together):
        places = torch.arange(together.oldest, together.oldest + len(together))
        index = places.remainder(together.size).expand(k, -1)
        whole = together.gather(index)
        for i, buffer in enumerate(alone):
            own = buffer.gather(index[i : i + 1])
            read = own.discount > 0  # a successor behind a termination is arbitrary
            for name in ("obs", "action", "reward", "discount"):
                assert torch.equal(getattr(own, name)[0], getattr(whole, name)[i])
            assert torch.equal(own.next_obs[read], whole.next_obs[i : i + 1][read])
