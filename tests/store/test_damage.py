"""Whatever happens to a file of a study: the same result, a named fault, or one line."""

import os
from collections import Counter

import pytest

from prism.benchmark.store import digests, leases
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
@pytest.mark.parametrize("kind", damage.KINDS)
def test_any_damage(truth, tmp_path, kind):
    """Print how many changes of a kind of file had which outcome; PRISM_FUZZ is how many seeds."""
    counts: Counter[str] = Counter()
    bad = []
    for seed in range(int(os.environ.get("PRISM_FUZZ", "1"))):
        for change in damage.changes_of(kind):
            folder = tmp_path / f"{damage.changes_of(kind).index(change)}-{seed}"
            trial = damage.Trial(truth, folder, kind, change, seed)
            outcome = trial.outcome()
            counts[outcome] += 1
            if outcome in BAD:
                bad.append(f"{kind}, {change}, seed {seed}: {outcome}\n{trial.wrong}")
            trial.remove()
    told = ", ".join(f"{outcome} {counts[outcome]}" for outcome in (*GOOD, *BAD))
    print(f"\n{kind}: {counts.total()} changes: {told}", flush=True)
    assert not bad, "\n".join(bad)
