"""What differs between agents besides the agent: libraries, machine, device, code."""

from collections.abc import Iterator

from .data import Data

_SHOWN = 4  # agents that a sentence names per value


def confounds(data: Data) -> Iterator[str]:
    """Yield a sentence per fact that differs between the agents of an environment.

    A difference of scores between such agents may come from the agent or from the fact; the runs
    cannot say which.
    """
    facts: dict[str, dict[str, dict[str, set[str]]]] = {}  # fact -> env -> label -> values
    for row in data.scored.itertuples():
        record = data.records.get(str(row.run_id))
        if record is None:
            continue
        versions = record.get("versions") or {}
        values = {**versions, "device": (record.get("pack") or {}).get("device")}
        values["code"] = record.get("code")
        for fact, value in values.items():
            if value:
                cell = facts.setdefault(fact, {}).setdefault(str(row.env), {})
                cell.setdefault(str(row.label), set()).add(str(value))
    for fact, envs in facts.items():
        if any(len(set(map(frozenset, labels.values()))) > 1 for labels in envs.values()):
            agents: dict[str, list[str]] = {}
            for labels in envs.values():
                for label, found in labels.items():
                    agents.setdefault(" and ".join(sorted(found)), []).append(label)
            told = "; ".join(f"{value}: {_names(names)}" for value, names in agents.items())
            yield (
                f"{fact} differs between agents ({told}). A difference between these agents may "
                "come from it."
            )


def _names(labels: list[str]) -> str:
    names = list(dict.fromkeys(labels))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
