"""Anchors inside the page that numbers link to."""

import hashlib


def cell_anchor(label: str, env: str) -> str:
    """Return the anchor of the runs of one label on one environment."""
    return "runs-" + hashlib.sha256(f"{label}\n{env}".encode()).hexdigest()[:10]


def run_anchor(place: int) -> str:
    """Return the anchor of one run, by its row in ``Data.runs``."""
    return f"run-{place}"
