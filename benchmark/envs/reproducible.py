"""Whether the runs of an environment follow from their seeds."""

import json
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from ..util.errors import ConfigError
from .config import from_dict, registered
from .make import make_env
from .repeats import not_repeating

_OWN = ("gymnasium.envs.", "prism.benchmark.envs.")  # entry points that are known to repeat
_STEPS = 100  # of each of the two episodes


def irreproducible(env: Mapping[str, Any]) -> str | None:
    """Return why an environment's runs do not follow from their seeds, or None if they do.

    Gymnasium's and Prism's own environments repeat. Another one does not if its registration says
    so (``nondeterministic``), or if two short episodes of one seed differ.

    Args:
        env: the environment's config as plain data.
    """
    return _reason(json.dumps(env, sort_keys=True))


@cache
def _reason(text: str) -> str | None:
    config = from_dict(json.loads(text))
    spec = registered(config)
    if spec.nondeterministic:
        return f"not reproducible: the environment {config.id} is registered as nondeterministic"
    if str(spec.entry_point).startswith(_OWN) and not config.wrappers.extra:
        return None
    try:
        difference = not_repeating(partial(make_env, config, training=False), 1, _STEPS)
    except ConfigError:
        raise
    except Exception:  # the run reports what an environment raises
        return None
    return difference and f"not reproducible: the environment {config.id}: {difference}"
