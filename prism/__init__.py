"""Prism takes reinforcement-learning agents apart.

The packages ``algos``, ``analysis``, ``benchmark`` and ``conf`` stand at the top of the repository.
Here they are links; an installed Prism has the folders themselves below ``prism``, so that it takes
no other name in ``site-packages``.
"""

from pathlib import Path

_here = Path(__file__).resolve().parent
if not (_here / "algos").is_dir():  # a checkout whose Git writes no links, on Windows
    __path__.append(str(_here.parent))
