"""The row files: what is on the disk, when, and what a resume leaves of it."""

import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from prism.benchmark.store.rows import Changed, Rows, read_rows


def test_a_row_is_on_disk_when_write_returns_and_survives_a_kill(tmp_path):
    path = tmp_path / "metrics.jsonl"
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from prism.benchmark.store.rows import Rows\n"
        "rows = Rows(Path(sys.argv[1]))\n"
        "for i in range(50): rows.write({'global_step': i, 'x': i / 3})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    child = subprocess.run([sys.executable, "-c", script, str(path)], cwd=os.getcwd())
    assert child.returncode == -signal.SIGKILL
    assert read_rows(path) == [{"global_step": i, "x": i / 3} for i in range(50)]


def test_equal_rows_are_equal_bytes_whatever_their_types_and_order(tmp_path):
    a, b = Rows(tmp_path / "a.jsonl"), Rows(tmp_path / "b.jsonl")
    a.write({"global_step": 7, "loss/b": 0.1, "loss/a": 2.0})
    b.write({"loss/a": torch.tensor(2.0), "loss/b": np.float64(0.1), "global_step": np.int64(7)})
    assert a.path.read_bytes() == b.path.read_bytes()
    assert a.path.read_text() == '{"global_step":7,"loss/a":2.0,"loss/b":0.1}\n'


def test_a_number_that_does_not_exist_is_null(tmp_path):
    rows = Rows(tmp_path / "metrics.jsonl")
    stored = rows.write({"global_step": 1, "nan": math.nan, "inf": -math.inf, "none": None})
    assert stored == {"global_step": 1, "inf": None, "nan": None, "none": None}
    assert json.loads(rows.path.read_text()) == stored


@pytest.mark.parametrize("value", ["fast", torch.zeros(2), [1.0]])
def test_what_is_no_number_is_refused_and_leaves_no_trace(tmp_path, value):
    rows = Rows(tmp_path / "metrics.jsonl")
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        rows.write({"global_step": 1, "x": value})
    assert rows.path.read_bytes() == b""


def test_truncate_drops_later_rows_and_the_next_row_follows_the_kept_ones(tmp_path):
    rows = Rows(tmp_path / "metrics.jsonl")
    for step in (10, 20, 30, 40):
        rows.write({"global_step": step})
    rows = Rows(rows.path, 20)
    rows.write({"global_step": 25})
    assert [row["global_step"] for row in read_rows(rows.path)] == [10, 20, 25]
    assert Rows(rows.path, -1).path.read_bytes() == b""


@pytest.mark.parametrize("torn", [b'{"global_step":2', b'{"global_step":2}', b"\xff\n"])
def test_reopening_drops_a_torn_last_line(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"global_step":1}\n' + torn)
    assert [row["global_step"] for row in read_rows(path)] == [1]
    Rows(path).write({"global_step": 3})
    assert path.read_bytes() == b'{"global_step":1}\n{"global_step":3}\n'


def test_finish_writes_the_same_rows_as_parquet(tmp_path):
    rows = Rows(tmp_path / "metrics.jsonl")
    rows.write({"global_step": 1, "b": 1, "a": 0.1})
    rows.write({"global_step": 2, "c": math.nan, "a": 0.2})
    table = pq.read_table(rows.finish())
    assert table.schema.names == ["global_step", "a", "b", "c"]
    assert table.schema.types == [pa.int64(), pa.float64(), pa.float64(), pa.float64()]
    assert table.to_pydict() == {
        "global_step": [1, 2],
        "a": [0.1, 0.2],
        "b": [1.0, None],
        "c": [None, None],
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.jsonl", "metrics.parquet"]


def test_a_run_without_rows_finishes_too(tmp_path):
    table = pq.read_table(Rows(tmp_path / "metrics.jsonl").finish())
    assert (table.num_rows, table.schema.names) == (0, ["global_step"])


def test_an_old_writer_of_a_file_leaves_no_row_in_that_of_the_new(tmp_path):
    old = Rows(tmp_path / "metrics.jsonl")
    old.write({"global_step": 1})
    new = Rows(tmp_path / "metrics.jsonl")
    old.write({"global_step": 2})
    new.write({"global_step": 3})
    old.write({"global_step": 4})
    assert [row["global_step"] for row in read_rows(new.path)] == [1, 3]
    new.finish()
    with pytest.raises(Changed, match=r"metrics.jsonl does not hold the rows that were written"):
        old.finish()


@pytest.mark.parametrize("data", [b"", b'{"global_step":1,"x":2.5}\n', b'{"global_step":1}\n'])
def test_a_file_that_has_changed_is_found_at_the_end(tmp_path, data):
    rows = Rows(tmp_path / "metrics.jsonl")
    rows.write({"global_step": 1, "x": 1.5})
    rows.path.write_bytes(data)
    with pytest.raises(Changed):
        rows.finish()
    assert not (tmp_path / "metrics.parquet").exists()
