"""Versions of installed distributions."""

from importlib import metadata


def version(distribution: str) -> str:
    """Return the version of an installed distribution, or "absent"."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"
