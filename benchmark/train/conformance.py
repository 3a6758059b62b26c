"""Checks that an agent keeps the promises of its protocol, on a real environment.

The promises are those of ``Agent``: what its methods take and return; that K seeds train together
as each would alone, to the bit; that a resumed agent goes on as if it had not stopped; that
evaluations change nothing; that a truncated episode bootstraps, and a terminated one does not.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from prism.algos.core.agent import Agent, HasMemory, Step

from ..envs.table import vector_env
from ..store.checkpoint import take_seed
from ..store.spec import RunSpec
from ..util.checks import Check, Skip, Wrong
from .build import build_agent
from .protocol import (
    difference,
    identical,
    reread,
    saved,
    wrong_action,
    wrong_memo,
    wrong_metrics,
    wrong_state,
)

SEEDS = (3, 11, 42)
UPDATES, FEWEST, MOST = 12, 100, 5000  # a life has so many updates, and ticks from and to
HORIZON = 7  # of episodes in the checks of their ends
ROUNDING = 1e-4  # part of a policy's movement that may come from rounding
_CPU = torch.device("cpu")
_ALONE = 1  # index of the seed that is trained alone

Rewrite = Callable[[Step], Step]


class Life:
    """An agent of some seeds in its environment, and what it did.

    Args:
        spec: the agent and its environment.
        seeds: of the agent.
        worlds: seeds of the environments; None: those of the agent.
        rewrite: changes what the agent observes of a tick.
    """

    def __init__(
        self,
        spec: RunSpec,
        seeds: Sequence[int] = SEEDS,
        worlds: Sequence[int] | None = None,
        rewrite: Rewrite = lambda step: step,
    ) -> None:
        algo, self.seeds, self.rewrite = spec.algo, tuple(seeds), rewrite
        self.agent = build_agent(spec, seeds, _CPU)
        self.env = vector_env(
            spec.env, worlds or seeds, algo.lanes, gamma=spec.gamma, reset=algo.reset
        )
        self.first = self.obs = torch.from_numpy(self.env.begin())
        self.log: list[dict[str, Tensor]] = []  # per tick: action, memo/..., metric/...
        self.updates = 0

    def live(self, ticks: int) -> "Life":
        """Live for some ticks."""
        for _ in range(ticks):
            if self.agent.interacts:
                self._interact()
            else:
                self._update({})
        return self

    def learn(self) -> "Life":
        """Live until there were enough updates."""
        while self.updates < UPDATES and len(self.log) < MOST:
            self.live(1)
        return self.live(FEWEST - len(self.log)) if self.agent.interacts else self

    def _interact(self) -> None:
        action, memo = self.agent.act(self.obs)
        grid = self.obs.shape[:2]
        _demand(wrong_action(action, grid, self.env.action_space, _CPU))
        _demand(wrong_memo(memo, grid))
        seen = {"action": action} | {f"memo/{name}": x for name, x in memo.items()}
        row = {name: x.clone() for name, x in seen.items()}
        result = self.env.step(action.numpy())
        if self.env.failed:
            raise Wrong(next(iter(self.env.failed.values())))
        next_obs, reward, terminated, truncated, valid = map(torch.from_numpy, result)
        step = Step(self.obs, next_obs, action, reward, terminated, truncated, valid, memo)
        self.agent.observe(self.rewrite(step))
        self._update(row)
        self.obs = torch.from_numpy(self.env.begin())

    def _update(self, row: dict[str, Tensor]) -> None:
        metrics = self.agent.update()
        _demand(wrong_metrics(metrics, len(self.seeds)))
        self.updates += bool(metrics)
        self.log.append(row | {f"metric/{name}": x.clone() for name, x in (metrics or {}).items()})

    def saved(self) -> tuple[bytes, bytes]:
        """Return the agent's and the environment's state as in a checkpoint."""
        return saved(self.agent.state()), saved(self.env.state())

    def load(self, agent: bytes, env: bytes) -> "Life":
        """Continue from what ``saved`` returned."""
        self.agent.load(reread(agent))
        self.env.load(reread(env))
        self.obs = torch.from_numpy(self.env.begin())
        return self

    def policy(self, k: int | None = None) -> Any:
        """Return a copy of what acting needs, of all seeds or of one."""
        policy = reread(saved(self.agent.state()["policy"]))
        return policy if k is None else take_seed(policy, k)

    def greedy(self, obs: Tensor) -> Tensor:
        """Return the greedy actions for observations that begin an episode."""
        return evaluated(self.agent, obs)[0].clone()

    def of(self, k: int) -> list[dict[str, Tensor]]:
        """Return the log of one seed; of its metrics, those of updates in which it learned."""
        own = []
        for row in self.log:
            learned = row.get("metric/learned")
            idle = learned is not None and not learned[k]
            own.append(
                {n: x[k : k + 1] for n, x in row.items() if not (idle and n.startswith("metric/"))}
            )
        return own

    def close(self) -> None:
        """Close the environments."""
        self.env.close()


def evaluated(agent: Agent, obs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Act as an evaluation does on the first observations of its episodes."""
    if isinstance(agent, HasMemory):
        agent.forget()
    return agent.act(obs, explore=False)


class Subject:
    """The agent under test: its spec, and the life that others are compared with."""

    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec.changed({"device": "cpu"})
        torch.set_num_threads(spec.threads)

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds that train together."""
        return SEEDS[: self.spec.agent.max_seeds]

    @cached_property
    def whole(self) -> Life:
        """Return the life of all seeds, from the start to its last update."""
        life = Life(self.spec, self.seeds).learn()
        life.close()
        return life

    @property
    def ticks(self) -> int:
        """Return how long it was."""
        return len(self.whole.log)

    def life(self, *args: Any, **more: Any) -> Life:
        """Return a new life of the same agent."""
        return Life(self.spec, *(args or (self.seeds,)), **more)


def acts(subject: Subject) -> None:
    """Check what ``act`` returns, in training and with another number of lanes."""
    life = subject.life()
    obs = life.obs
    if life.agent.interacts:
        life.live(1)
    for wide in (obs, torch.cat([obs, obs, obs], 1)):
        action, memo = evaluated(life.agent, wide)
        wrong = wrong_action(action, wide.shape[:2], life.env.action_space, _CPU)
        wrong = wrong or wrong_memo(memo, wide.shape[:2])
        _demand(wrong and f"with explore=False and {wide.shape[1]} lanes, {wrong}")
    life.close()


def learns(subject: Subject) -> None:
    """Check that updates come, and that their metrics are finite."""
    life = subject.whole
    if not life.updates:
        raise Wrong(f"update() returned nothing in {MOST} ticks; let it learn sooner: algo.<key>=")
    for row in life.log:
        for name, value in row.items():
            if name.startswith("metric/") and value.isinf().any():
                raise Wrong(f"update() returns {name.partition('/')[2]}, which is not finite")


def state(subject: Subject) -> None:
    """Check what ``state`` holds."""
    _demand(wrong_state(subject.whole.agent.state(), len(subject.seeds)))


def repeats(subject: Subject) -> None:
    """Check that the same life again is the same."""
    again = subject.life().live(subject.ticks)
    again.close()
    _same(subject.whole, again, "the same seeds again", whole_state=True)


def alone(subject: Subject) -> None:
    """Check that a seed among others is, to the bit, what it is alone."""
    _needs_several(subject)
    seed = subject.seeds[_ALONE]
    single = subject.life((seed,)).live(subject.ticks)
    single.close()
    _compare(subject.whole.of(_ALONE), single.of(0), f"seed {seed} alone and among others")
    at = difference(subject.whole.policy(_ALONE), single.policy())
    _demand(at and f"seed {seed} alone and among others end with another policy: {at}")


def distinct(subject: Subject) -> None:
    """Check that the agent's own random numbers depend on the seed: the world is the same."""
    _needs_several(subject)
    life = subject.life(worlds=(7,) * len(subject.seeds))
    first = [life.policy(k) for k in range(len(subject.seeds))]
    life.live(subject.ticks)
    life.close()
    for a, b in combinations(range(len(subject.seeds)), 2):
        pair = f"seeds {subject.seeds[a]} and {subject.seeds[b]}"
        if at := _shared_draws(first[a], first[b]):
            raise Wrong(f"{pair} begin with the same random numbers in {at}")
        if _acted_alike(life, a, b) and not difference(life.policy(a), life.policy(b)):
            if not life.agent.interacts:
                raise Skip(f"{pair} learn the same: right only if it draws no random numbers")
            raise Wrong(f"{pair} act alike in the same world and learn the same")


def resumes(subject: Subject) -> None:
    """Check that a loaded agent goes on as if it had not stopped, all seeds or one of them."""
    half = subject.ticks // 2
    begun = subject.life().live(half)
    agent, env = begun.saved()
    begun.close()
    rest = subject.life().load(agent, env)
    _demand(_after(difference(reread(agent), rest.agent.state()), "load() restores not all"))
    rest.live(subject.ticks - half)
    rest.close()
    rest.log = begun.log + rest.log
    _same(subject.whole, rest, "resumed and not stopped", whole_state=True)
    if len(subject.seeds) > 1:
        seed = subject.seeds[_ALONE]
        single = subject.life((seed,))
        one = [saved(take_seed(reread(part), _ALONE)) for part in (agent, env)]
        single.load(*one).live(subject.ticks - half)
        single.close()
        words = f"seed {seed}, resumed alone and among others"
        _compare(subject.whole.of(_ALONE)[half:], single.of(0), words)


def evaluates(subject: Subject) -> None:
    """Check that greedy acting repeats, and changes nothing."""
    half = subject.ticks // 2
    life = subject.life().live(half)
    before, wide = life.saved()[0], torch.cat([life.obs, life.first], 1)
    if not identical(life.greedy(wide), life.greedy(wide)):
        raise Wrong("act(explore=False) chooses another action for the same observation")
    at = difference(reread(before), life.agent.state())
    _demand(_after(at, "act(explore=False) changes the agent's state"))
    life.live(subject.ticks - half)
    life.close()
    _same(subject.whole, life, "with an evaluation and without", whole_state=True)


def weights(subject: Subject) -> None:
    """Check that the policy alone is enough to act, as one seed."""
    whole = subject.whole
    wide = torch.cat([whole.obs, whole.first], 1)
    expected = whole.greedy(wide)
    for k, seed in enumerate(subject.seeds):
        fresh = build_agent(subject.spec, [seed], _CPU)
        fresh.load({"policy": whole.policy(k)})
        action = evaluated(fresh, wide[k : k + 1])[0]
        if not identical(expected[k : k + 1], action):
            raise Wrong(f'loaded from the "policy" of seed {seed} alone, it acts differently')


def truncation(subject: Subject) -> None:
    """Check that the successor of a truncated step is learned from."""
    apart, has_values = _of_successors(subject, terminated=False)
    if apart > ROUNDING:
        return
    if not has_values:
        raise Skip("it reads no successor of a truncated step: right only if it never bootstraps")
    raise Wrong(
        "the successor of a truncated step makes no difference: truncation is taken for termination"
    )


def termination(subject: Subject) -> None:
    """Check that the successor of a terminated step is not learned from."""
    if _of_successors(subject, terminated=True)[0] > ROUNDING:
        raise Wrong("the successor of a terminated step makes a difference: it bootstraps from it")


AGENT_CHECKS = (
    Check("acts", "actions and memos have the shapes and types of the protocol", acts, True),
    Check("learns", "updates come, and their metrics are one number a seed", learns, True),
    Check("state", "holds tensors that lead with K, ints and strings, and a policy", state, True),
    Check("repeats", "the same seeds again do the same, to the bit", repeats, True),
    Check("alone", "a seed among others does what it does alone, to the bit", alone),
    Check("distinct", "no two seeds draw the same random numbers", distinct),
    Check("resumes", "saved and loaded, it goes on to the same bytes; so does one seed", resumes),
    Check("evaluates", "greedy acting repeats, and changes nothing", evaluates),
    Check("weights", "the policy alone is enough to act", weights),
    Check("truncation", "a truncated episode bootstraps from its successor", truncation),
    Check("termination", "a terminated episode does not", termination),
)


def _of_successors(subject: Subject, terminated: bool) -> tuple[float, bool]:
    """Return how far two lives come apart that differ in the successors of last steps alone.

    Also whether the agent predicts values. The distance is a fraction of what the policy moved.
    Every episode ends after ``HORIZON`` steps at most, as ``terminated`` says; a step pays 1.
    """
    if not subject.whole.agent.interacts:
        raise Skip("the agent does not interact: it observes no steps")
    spec = subject.spec.changed({"env.horizon": HORIZON})
    swapped = 0

    def end(step: Step) -> Step:
        over = step.terminated | step.truncated
        nothing = torch.zeros_like(over)
        flags = (over, nothing) if terminated else (nothing, over)
        pay = torch.ones_like(step.reward)  # so that there is something to bootstrap
        return step._replace(reward=pay, terminated=flags[0], truncated=flags[1])

    def swap(step: Step) -> Step:
        nonlocal swapped
        step = end(step)
        over = (step.terminated | step.truncated) & step.valid
        other = torch.where(_wide(over, step.next_obs), first, step.next_obs)
        swapped += not torch.equal(other, step.next_obs)
        return step._replace(next_obs=other)

    plain = Life(spec, subject.seeds, rewrite=end)
    first = plain.first
    start = plain.policy()
    plain.learn().close()
    other = Life(spec, subject.seeds, rewrite=swap)
    other.live(len(plain.log)).close()
    if not swapped:
        raise Skip("no episode ended in another observation than it began with")
    has_values = "value" in evaluated(plain.agent, plain.obs)[1]
    return _apart(start, plain.policy(), other.policy()), has_values


def _apart(start: Any, a: Any, b: Any) -> float:
    """Return how far two policies are apart, as a fraction of how far the first one moved.

    A policy may grow, as one that is made of what it has seen: what it lacks at the start is zero.
    """
    parts = [_flat(policy) for policy in (start, a, b)]
    if len(parts[1]) != len(parts[2]):
        return math.inf
    if len(parts[0]) != len(parts[1]):
        parts[0] = torch.zeros_like(parts[1])
    moved = (parts[1] - parts[0]).norm()
    if not moved:
        raise Skip("its policy did not change")
    return float((parts[1] - parts[2]).norm() / moved)


def _flat(policy: Any) -> Tensor:
    return torch.cat([torch.zeros(0).double(), *(x.double().ravel() for x in _floats(policy))])


def _floats(policy: Any) -> Iterator[Tensor]:
    for value in policy.values():
        if isinstance(value, dict):
            yield from _floats(value)
        elif isinstance(value, Tensor) and value.is_floating_point():
            yield value


def _same(a: Life, b: Life, words: str, whole_state: bool = False) -> None:
    _compare(a.log, b.log, words)
    if whole_state:
        at = difference(a.agent.state(), b.agent.state())
        _demand(at and f"{words}, it ends in another state: {at}")


def _compare(ours: Sequence[Any], theirs: Sequence[Any], words: str) -> None:
    """Demand that two logs are equal to the bit; the message names the first difference."""
    for tick, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        for name in sorted(a.keys() | b.keys()):
            if name == "metric/learned":
                continue
            if name not in a or name not in b or not identical(a[name], b[name]):
                raise Wrong(f"{words} differ at tick {tick}: {name}")


def _acted_alike(life: Life, a: int, b: int) -> bool:
    return all(identical(row["action"][a], row["action"][b]) for row in life.log if "action" in row)


def _shared_draws(a: Any, b: Any, at: str = "") -> str | None:
    """Return where two policies hold the same numbers, too many and too different for a fill."""
    if isinstance(a, dict):
        places = (_shared_draws(a[key], b[key], f"{at}/{key}".lstrip("/")) for key in a)
        return next((place for place in places if place), None)
    drawn = isinstance(a, Tensor) and a.is_floating_point() and len(set(a.flatten().tolist())) > 8
    return at if drawn and identical(a, b) else None


def _needs_several(subject: Subject) -> None:
    if len(subject.seeds) < 2:
        raise Skip(f"max_seeds is {subject.spec.agent.max_seeds}")


def _wide(flags: Tensor, like: Tensor) -> Tensor:
    return flags.view(*flags.shape, *[1] * (like.dim() - flags.dim()))


def _after(at: str | None, words: str) -> str | None:
    return at and f"{words}: {at}"


def _demand(wrong: str | None) -> None:
    if wrong:
        raise Wrong(wrong)
