"""The model of Gymnasium's Blackjack, which has no table P.

The deck is infinite (Sutton and Barto 2018, example 5.1). A state is (player's sum, dealer's card,
usable ace), numbered as in the environment. Ten more states follow: a natural against each card of
the dealer, observed as (21, card, 1).
"""

from functools import cache

import numpy as np

from prism.algos.core.mdp import MDP

FACTORS = (32, 11, 2)
_CARDS = tuple((card, (4 if card == 10 else 1) / 13) for card in range(1, 11))
_OBSERVED = int(np.prod(FACTORS))
STICK, HIT = 0, 1


def _index(total: int, card: int, usable: int) -> int:
    return (total * FACTORS[1] + card) * FACTORS[2] + usable


def _plus(total: int, usable: int, card: int) -> tuple[int, int]:
    """Return the sum and usable ace of a hand after one more card."""
    total -= 10 * usable  # all aces as 1
    aces = usable or card == 1
    total += card
    return (total + 10, 1) if aces and total + 10 <= 21 else (total, 0)


@cache
def _dealer(total: int, usable: int) -> dict[int, float]:
    """Return the distribution of the dealer's score; the dealer draws to 17, a bust scores 0."""
    if total >= 17:
        return {total if total <= 21 else 0: 1.0}
    scores: dict[int, float] = {}
    for card, chance in _CARDS:
        for score, p in _dealer(*_plus(total, usable, card)).items():
            scores[score] = scores.get(score, 0.0) + chance * p
    return scores


def _stick(total: int, card: int, natural: bool, sab: bool, bonus: bool) -> dict[float, float]:
    """Return the distribution of the reward for sticking."""
    hand = _plus(0, 0, card)
    outcome: dict[float, float] = {}
    for hidden, chance in _CARDS:
        dealer_natural = sorted((card, hidden)) == [1, 10]
        for score, p in _dealer(*_plus(*hand, hidden)).items():
            reward = float(total > score) - float(total < score)
            if sab and natural and not dealer_natural:
                reward = 1.0
            elif not sab and bonus and natural and reward == 1.0:
                reward = 1.5
            outcome[reward] = outcome.get(reward, 0.0) + chance * p
    return outcome


def blackjack(natural: bool = False, sab: bool = False) -> MDP:
    """Return the model; the arguments are those of the environment."""
    states, branches = _OBSERVED + 10, len(_CARDS)
    shape = (states, 2, branches)
    p, reward = np.zeros(shape), np.zeros(shape)
    successor = np.broadcast_to(np.arange(states)[:, None, None], shape).copy()
    terminal = np.ones(shape, bool)
    p[..., 0] = 1.0  # an unreachable state terminates at once
    start, observation = np.zeros(states), np.arange(states)
    for card in range(1, 11):
        special = _OBSERVED + card - 1
        observation[special] = _index(21, card, 1)
        hands = [(total, ace) for total in range(2, 22) for ace in (0, 1) if total >= 12 or not ace]
        rows = [(_index(total, card, ace), total, ace, False) for total, ace in hands]
        for state, total, ace, is_natural in [*rows, (special, 21, 1, True)]:
            for b, (payoff, chance) in enumerate(
                sorted(_stick(total, card, is_natural, sab, natural).items())
            ):
                p[state, STICK, b], reward[state, STICK, b] = chance, payoff
            for b, (hit_card, chance) in enumerate(_CARDS):
                after, usable = _plus(total, ace, hit_card)
                p[state, HIT, b] = chance
                successor[state, HIT, b] = _index(after, card, usable)
                terminal[state, HIT, b] = after > 21
                reward[state, HIT, b] = -1.0 if after > 21 else 0.0
    cards = dict(_CARDS)
    for first, p1 in _CARDS:
        for second, p2 in _CARDS:
            hand = _plus(*_plus(0, 0, first), second)
            for card in cards:
                state = _OBSERVED + card - 1 if hand[0] == 21 else _index(hand[0], card, hand[1])
                start[state] += p1 * p2 * cards[card]
    return MDP(p, successor, reward, terminal, start, factors=FACTORS, observation=observation)
