"""Checkpoints are whole, checked, kept twice, and cost what has changed."""

from pathlib import Path

import pytest
import torch

from prism.benchmark.store import checkpoint
from prism.benchmark.store.checkpoint import Checkpoints, State
from tests.helpers import equal

MB = 1 << 20


def state(step: int = 0) -> State:
    """Return a state of two seeds with a ring of 6 MB each, whose rows up to ``step`` are set."""
    ring = torch.zeros(2, 6 * 1024, 1024, dtype=torch.uint8)
    ring[:, :step] = torch.arange(step).remainder(250).add(1).to(torch.uint8)[:, None]
    return {"agent": {"ring": ring, "weights": torch.arange(6.0).view(2, 3)}, "step": step}


def written(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "blocks").iterdir()}


@pytest.fixture
def kept(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoint")


def test_the_newest_comes_first_and_the_one_before_is_kept(kept: Checkpoints) -> None:
    for step in (10, 20, 30):
        kept.save(state(step))
    for found, step in zip(kept.states(), (30, 20), strict=True):
        equal(found, state(step))
    kept.remove()
    assert list(kept.states()) == []


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32, torch.int64])
def test_large_tensors_come_back_to_the_bit(kept: Checkpoints, dtype: torch.dtype) -> None:
    whole = torch.arange(5 * MB).remainder(7).to(dtype).view(5, -1, 8)
    view = whole[:, : MB // 8 - 3]  # as a ring that is not full yet: not contiguous
    kept.save({"x": whole, "view": view})
    found = next(kept.states())
    equal(found, {"x": whole, "view": view})
    one = checkpoint.take_seed(found, 3)
    equal(one["view"], view[3:4])


def test_a_save_writes_only_the_blocks_that_have_changed(kept: Checkpoints) -> None:
    kept.save(state(4000))
    before = written(kept.folder)
    kept.save(state(4050))
    new = written(kept.folder).keys() - before.keys()
    assert len(new) == 1  # the seeds' rings are equal, and so are their blocks
    assert all(written(kept.folder)[name] == before[name] for name in before)
    kept.save(state(4100))
    kept.save(state(4150))
    named = written(kept.folder)
    assert len(named) < len(before) + 3  # blocks that no kept checkpoint needs are gone
    equal(next(kept.states()), state(4150))


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
        return
    if how == "changed":
        data[len(data) // 2] ^= 1
    path.write_bytes(data[: len(data) // 2] if how == "cut" else data)


@pytest.mark.parametrize("how", ["changed", "cut", "empty"])
def test_a_damaged_checkpoint_is_found_out(
    kept: Checkpoints, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for step in (10, 20):
        kept.save(state(step))
    newest = max(kept.folder.glob("*.pt"))
    damage(newest, how) if how != "empty" else newest.write_bytes(b"")
    (found,) = kept.states()
    equal(found, state(10))
    assert f"checkpoint {newest.name} is not used: its checksum differs" in capfd.readouterr().err
    kept.save(state(30))
    assert [found["step"] for found in kept.states()] == [30]  # no damaged one is kept


@pytest.mark.parametrize("how", ["changed", "cut", "gone"])
def test_a_damaged_block_is_found_out(
    kept: Checkpoints, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    kept.save(state(10))
    old = written(kept.folder)
    kept.save(state(4000))
    name = max(written(kept.folder).keys() - old.keys())
    damage(kept.folder / "blocks" / name, how)
    assert [found["step"] for found in kept.states()] == [10]
    assert f"block {name}" in capfd.readouterr().err


def test_what_a_crash_left_half_is_cleared(kept: Checkpoints) -> None:
    kept.save(state(10))
    (kept.folder / ".00000002.pt.77-1").write_bytes(b"half")
    (kept.folder / "blocks" / ".abc.77-1").write_bytes(b"half")
    kept.save(state(20))
    assert not list(kept.folder.rglob(".*"))
