"""One thread per process: the suite runs on as many workers as there are cores."""

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["MPLBACKEND"] = "agg"
os.environ["SDL_VIDEODRIVER"] = "dummy"
os.environ["WANDB_MODE"] = "offline"  # a developer's login must not receive test runs
os.environ["WANDB_ERROR_REPORTING"] = "false"
# What a developer has launched must not be known to tests, nor what tests launch to him.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="prism-state-")

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.wandb_server import WandbServer

torch.set_num_threads(1)
# Examples come from the code, not from chance or an earlier run: a failure is there again.
# A busy machine is no fault of a test.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("prism", patient, derandomize=True, database=None)
# Ten times as many, drawn anew each time: --hypothesis-profile=thorough
settings.register_profile("thorough", patient, max_examples=1000, print_blob=True)
settings.load_profile("prism")


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Return the folder of published numbers, or skip the test.

    It lies beside the checkout, or where PRISM_REFERENCE_DATA says.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("PRISM_REFERENCE_DATA", beside))
    if not folder.is_dir():
        pytest.skip("the reference data is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Return what gives the uninterrupted form of a run of tests/runs.py, trained once."""
    from tests import runs

    @cache
    def run(name: str) -> Any:
        algo, env, changes = runs.RUNS[name]
        folder = tmp_path_factory.mktemp("whole")
        return runs.finished(runs.job(folder, algo, env, **changes))

    return run


@pytest.fixture
def wandb_server(tmp_path_factory, monkeypatch) -> Iterator[WandbServer]:
    """Return a W&B server of this test's own, to which the SDK is logged in."""
    import wandb

    server = WandbServer()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("WANDB_MODE")
    wandb.teardown()
    yield server
    wandb.teardown()
    server.stop()
