"""Whatever happens to a file of a study: the same result, a named fault, or one line."""

import os
from collections import Counter

import pytest

from prism.benchmark.store import digests, leases
from prism.benchmark.util.text import table
from tests import damage

GOOD = (damage.SAME, damage.NAMED, damage.LINE)
BAD = (damage.TRACEBACK, damage.HANG, damage.OTHER)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> damage.Truth:
    return damage.Truth(tmp_path_factory.mktemp("truth"))


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner on another machine is given up after less than a minute."""
    monkeypatch.setattr(leases, "EXPIRY", 0.2)


@pytest.mark.parametrize(
    ("kind", "change", "outcome"),
    [
        ("plan.json", "a type", damage.LINE),
        ("run.json", "{}", damage.NAMED),
        ("status.json", "a digit", damage.NAMED),
        ("metrics.jsonl", "a digit", damage.NAMED),
        ("metrics.parquet", "a bit", damage.NAMED),
        ("timing.jsonl", "cut", damage.NAMED),
        ("weights.pt", "swapped", damage.NAMED),
        ("arrays/result.npz", "a bit", damage.NAMED),
        ("run.json, unfinished", "deep", damage.NAMED),
        ("checkpoint", "a bit", damage.NAMED),
        ("tracking.json", "5", damage.SAME),
    ],
)
def test_damage_is_named_and_mended(truth, tmp_path, kind, change, outcome):
    trial = damage.Trial(truth, tmp_path, kind, change, 0)
    assert trial.outcome() == outcome, trial.wrong
    assert outcome != damage.NAMED or trial.said


def test_without_digests_another_number_is_found(truth, tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "fault", lambda *_, **__: "")
    trial = damage.Trial(truth, tmp_path, "metrics.jsonl", "a digit", 0)
    assert trial.outcome() == damage.OTHER


@pytest.mark.fuzz
def test_any_damage(truth, tmp_path):
    """Print a table of kinds of files and outcomes; PRISM_FUZZ says how many seeds."""
    counts: dict[str, Counter[str]] = {}
    bad = []
    for seed in range(int(os.environ.get("PRISM_FUZZ", "2"))):
        for kind in damage.KINDS:
            for change in damage.changes_of(kind):
                folder = tmp_path / "trial"
                trial = damage.Trial(truth, folder, kind, change, seed)
                outcome = trial.outcome()
                counts.setdefault(kind, Counter())[outcome] += 1
                if outcome in BAD:
                    bad.append(f"{kind}, {change}, seed {seed}: {outcome}\n{trial.wrong}")
                    print(bad[-1], flush=True)
                trial.remove()
    rows = [["kind of file", *GOOD, *BAD]]
    rows += [[kind, *(str(n[o]) for o in (*GOOD, *BAD))] for kind, n in counts.items()]
    print(*table(rows), sep="\n")
    assert not bad, f"{len(bad)} of {sum(n.total() for n in counts.values())}: {bad[0]}"
