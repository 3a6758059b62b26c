"""Where two components meet: every combination runs, and every switch changes something.

A component that is asked for and not there is the family's classic fault: prioritised replay that
runs uniform, weights that never reach the loss, a window that bootstraps with the wrong discount.
"""

from collections.abc import Callable
from dataclasses import asdict
from itertools import combinations, product
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from prism.algos.core.agent import Component
from prism.algos.core.nets import NoisyLinear
from prism.algos.core.samplers import Prioritized, Uniform
from prism.algos.dqn.config import DQNConfig
from prism.algos.dqn.dqn import DQN
from prism.algos.dqn.value_models import Categorical, Scalar
from prism.algos.formulas import td
from prism.benchmark.plan.variants import changes
from tests.helpers import SEEDS, VECTOR, World, agent, drive, preset, steady, tiny

SIX = {c.name: c for c in DQN.COMPONENTS if not c.foundation}
BASES = ("dqn", "rainbow")


def switched(name: str, base: str, on: bool) -> DQNConfig:
    """Return a tiny preset with one component on or off, the rest as the preset has it."""
    component = SIX[name]
    return tiny(base, **{**(component.on if on else component.off), "exploration": steady()})


def grown(config: DQNConfig, ticks: int = 40) -> DQN:
    """Return an agent that has lived for a while; its target lags behind its online network."""
    learner = agent(config)
    drive(learner, World(VECTOR, SEEDS), ticks)
    return learner


def sampled(learner: DQN) -> tuple[Any, Tensor]:
    batch, weight, _ = learner.experience.sample()
    return batch, weight


def quiet(learner: DQN) -> None:
    """Let both networks act and learn without noise."""
    for net in learner.learner.networks:
        for layer in net.modules():
            if isinstance(layer, NoisyLinear):
                layer.noise.zero_()
                layer.resample = lambda: None  # type: ignore[method-assign]


def test_the_six_are_rainbows() -> None:
    assert set(SIX) == {
        *("double", "prioritized", "dueling", "multi-step", "distributional", "noisy")
    }


@pytest.mark.parametrize("switches", list(product((False, True), repeat=6)), ids=str)
def test_every_combination_runs_and_stays_finite(switches: tuple[bool, ...]) -> None:
    values: dict[str, Any] = {"hidden": [8, 8], "train_every": 3, "lr": 1e-2}
    for component, on in zip(SIX.values(), switches, strict=True):
        values |= component.on if on else component.off
    learner = agent(tiny("dqn", **values), SEEDS[:2])
    before = learner.learner.params.clone()
    log = drive(learner, World(VECTOR, SEEDS[:2]), 50)
    assert len(log["loss"]) >= 14 and torch.stack(log["loss"]).isfinite().all()
    after = learner.learner.params
    assert after.isfinite().all() and not torch.equal(after, before)


def settings(config: DQNConfig) -> dict[str, Any]:
    return {k: v for k, v in asdict(config).items() if k not in ("name", "label")}


def overrides(side: str, components: dict[str, Component]) -> dict[str, Any]:
    return {k: v for c in components.values() for k, v in getattr(c, side).items()}


def test_dqn_with_all_six_is_rainbow_and_rainbow_without_them_is_dqn() -> None:
    assert settings(preset("dqn", **overrides("on", SIX))) == settings(preset("rainbow"))
    assert settings(preset("rainbow", **overrides("off", SIX))) == settings(preset("dqn"))


def test_every_override_names_a_field_and_moves_it() -> None:
    for component in DQN.COMPONENTS:
        assert component.on.keys() <= component.off.keys() <= asdict(preset("dqn")).keys()
        assert all(component.on[key] != component.off[key] for key in component.on)


@pytest.mark.parametrize("base", BASES)
def test_prioritized_replaces_the_sampler_and_spreads_the_priorities(base: str) -> None:
    with_, without = (grown(switched("prioritized", base, on)) for on in (True, False))
    assert type(with_.experience.sampler) is Prioritized
    assert type(without.experience.sampler) is Uniform
    leaves = with_.experience.sampler.tree.levels[0]
    assert all(len(torch.unique(leaves[k][leaves[k] > 0])) > 10 for k in range(len(SEEDS)))
    assert sampled(with_)[1].std() > 0 and (sampled(without)[1] == 1).all()


@pytest.mark.parametrize("base", BASES)
def test_double_lets_the_online_network_choose(base: str) -> None:
    batch, weight = sampled(grown(switched("double", base, True)))
    losses = []
    for on in (True, False):
        learner, stranger = (agent(switched("double", base, on), s) for s in (SEEDS, (7, 8, 9)))
        learner.learner.params.copy_(stranger.learner.params)  # unlike the target
        quiet(learner)
        chooser = learner.online if on else learner.target
        best = learner.value.mean(chooser(batch.next_obs)).argmax(-1)
        following = td.select(learner.target(batch.next_obs), best)
        target = learner.value.target(batch.reward, batch.discount, following)
        predicted = td.select(learner.online(batch.obs), batch.action)
        losses.append(learner._loss(batch, weight)[0])
        expected = (weight * learner.value.loss(predicted, target)[0]).mean(-1)
        torch.testing.assert_close(losses[-1], expected)
    assert (losses[0] - losses[1]).abs().max() > 1e-4  # where the two argmaxes differ


@pytest.mark.parametrize("base", BASES)
def test_dueling_adds_a_stream(base: str) -> None:
    with_, without = (agent(switched("dueling", base, on)) for on in (True, False))
    assert with_.online.value is not None and without.online.value is None
    size = [sum(p[0].numel() for p in a.online.parameters()) for a in (with_, without)]
    assert size[0] > size[1]


@pytest.mark.parametrize("base", BASES)
def test_multi_step_lengthens_window_and_discount_together(base: str) -> None:
    for on, n in ((True, 3), (False, 1)):
        config = switched("multi-step", base, on)
        discount = sampled(grown(config))[0].discount
        longest = torch.unique(discount)[-1] if n == 1 else discount[discount > 0].min()
        assert float(longest) == pytest.approx(config.gamma**n)


@pytest.mark.parametrize("base", BASES)
def test_distributional_changes_the_meaning_of_the_last_axis(base: str) -> None:
    with_, without = (agent(switched("distributional", base, on)) for on in (True, False))
    assert type(with_.value) is Categorical and type(without.value) is Scalar
    obs = World(VECTOR, SEEDS).obs
    assert with_.online(obs).shape == (3, 1, 3, 11) and without.online(obs).shape == (3, 1, 3, 1)


@pytest.mark.parametrize("base", BASES)
def test_noisy_explores_by_its_weights_alone_and_off_brings_epsilon_back(base: str) -> None:
    with_, without = (agent(switched("noisy", base, on)) for on in (True, False))
    for learner, noisy in ((with_, True), (without, False)):
        layers = [m for m in learner.online.modules() if isinstance(m, NoisyLinear)]
        assert bool(layers) == noisy
        obs = World(VECTOR, SEEDS).obs
        outputs = []
        for _ in range(5):
            learner.online.resample()
            outputs.append(learner.online(obs))
        assert torch.equal(outputs[0], outputs[1]) == (not noisy)
    assert grown(switched("noisy", base, True))._level() == 0
    config = switched("noisy", base, False)
    config.exploration = steady(0.3)
    learner, obs = agent(config), World(VECTOR, SEEDS).obs
    greedy = learner.act(obs, explore=False)[0]
    explored = torch.stack([learner.act(obs)[0] != greedy for _ in range(600)])
    assert float(explored.float().mean()) == pytest.approx(
        0.3 * 2 / 3, abs=0.03
    )  # of three actions


@pytest.mark.parametrize("double", ["target", "coin"])
def test_choice_and_value_have_noises_of_their_own(double: str) -> None:
    """Fortunato et al. 2018, section 3.1: three draws in the loss of NoisyNet-Dueling."""
    learner = grown(tiny("noisy_dqn", double=double))
    noises: list[Tensor] = []

    def overheard(layer: NoisyLinear) -> Callable[..., Tensor]:
        forward = layer.forward
        return lambda *args: noises.append(layer.noise.clone()) or forward(*args)  # type: ignore

    for net in learner.learner.networks:
        net._noisy[0].forward = overheard(net._noisy[0])  # type: ignore[method-assign]
    learner._learn()
    assert len(noises) == 3  # of the target, of the choice, of the values learned
    for one, other in combinations(noises, 2):
        assert (one != other).any(-1).all()


def test_priorities_are_the_value_models_own() -> None:
    """Rainbow prioritises by the divergence; without distributional it is |TD error| again."""
    for on in (True, False):
        learner = grown(switched("distributional", "rainbow", on))
        batch, weight = sampled(learner)
        quiet(learner)
        _, priority, _ = learner._loss(batch, weight)
        best = learner.value.mean(learner.online(batch.next_obs)).argmax(-1)
        following = td.select(learner.target(batch.next_obs), best)
        target = learner.value.target(batch.reward, batch.discount, following)
        predicted = td.select(learner.online(batch.obs), batch.action)
        if on:
            q = predicted.log_softmax(-1)
            expected = torch.where(target > 0, target * (target.log() - q), 0.0).sum(-1)
        else:
            expected = (target - predicted.squeeze(-1)).abs()
        torch.testing.assert_close(priority, expected, atol=1e-5, rtol=1e-4)
        assert priority.min() >= 0


MODELS: dict[str, dict[str, Any]] = {
    "squared": {"loss": "squared"},
    "huber": {"loss": "huber"},
    "categorical": {"value": "categorical"},
    "quantile": {"value": "quantile"},
    "pinball": {"value": "quantile", "kappa": 0.0},
    "coin": {"double": "coin"},
}


@pytest.mark.parametrize("model", MODELS)
def test_importance_weights_reach_the_gradient(model: str) -> None:
    learner = grown(tiny("per_dqn", **MODELS[model]), 20)
    batch, weight = sampled(learner)
    weight = learner._each_twin(weight)
    batch = type(batch)(*(learner._each_twin(x) for x in batch))
    gradients = []
    for w in (weight, 2 * weight, weight.flip(1), 0 * weight):
        learner.learner.optimizer.backward(learner._loss(batch, w)[0])
        gradients.append(learner.learner.optimizer.grad.clone())
    torch.testing.assert_close(gradients[1], 2 * gradients[0])
    assert not torch.allclose(gradients[2], gradients[0]) and not gradients[3].any()
    per_sample = [learner._loss(batch, one.expand_as(weight))[0] for one in torch.eye(8)]
    torch.testing.assert_close(
        (torch.stack(per_sample, 1) * weight).sum(1), learner._loss(batch, weight)[0]
    )


def test_importance_weights_of_the_sampler_are_those_of_the_update() -> None:
    learner = grown(tiny("per_dqn", optimizer="sgd"), 20)
    sample, before = learner.experience.sampler.sample, learner.learner.params.clone()
    learner.experience.sampler.sample = lambda beta: (sample(beta)[0], torch.zeros(3, 8))  # type: ignore
    assert learner.update() is not None
    assert torch.equal(learner.learner.params, before)
    learner.experience.sampler.sample = sample  # type: ignore[method-assign]
    assert learner.update() is not None
    assert not torch.equal(learner.learner.params, before)


def test_leave_one_out_variants_are_these_switches() -> None:
    for base, word, side, sign in (
        ("rainbow", "leave_one_out", "off", "Rainbow - "),
        ("dqn", "add_one_in", "on", "DQN + "),
    ):
        variants = changes(DQN, OmegaConf.structured(preset(base)), word)
        assert {c.label: c.values for c in variants} == {
            sign + name: dict(getattr(component, side)) for name, component in SIX.items()
        }
