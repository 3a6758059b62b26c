# Commands of this repository; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
WORKERS ?= auto
STUDY ?= quickstart
SEEDS ?= 3
PY := .venv/bin/python
STAMP := .venv/installed
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: help .venv demo test coverage properties slow chaos fuzz test-cluster learn textbook bench lint format types check report dist \
  clean

help:  ## list the commands
	@grep -hE '^[a-z.-]+:.*##' Makefile | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.venv: $(STAMP)  ## build .venv from requirements.lock (PYTHON=python3.12 chooses the interpreter)

$(STAMP): requirements.lock pyproject.toml
	@test -x $(PY) || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: Prism needs Python 3.11 or later, $(PYTHON) is not; try: make PYTHON=python3.11" >&2; exit 1; }
	@test -x $(PY) || { echo "building .venv (once)"; $(PYTHON) -m venv .venv; }
	@$(PY) -m pip install -q --disable-pip-version-check -r requirements.lock
	@$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation \
	  -e . --config-settings editable_mode=compat
	@touch $@

demo: $(STAMP)  ## run the quickstart study on all cores and report it (three minutes on two cores once installed)
	$(PY) -m benchmark study=quickstart
	$(PY) -m analysis report results/quickstart

report: $(STAMP)  ## report a study that has run (STUDY=quickstart)
	$(PY) -m analysis report results/$(STUDY)

test: $(STAMP)  ## run the default tests
	$(ONE_THREAD) $(PY) -m pytest -q -n $(WORKERS) --dist worksteal

coverage: $(STAMP)  ## run the default tests and say which lines and branches they miss (htmlcov/index.html)
	rm -f .coverage .coverage.*
	$(ONE_THREAD) $(PY) -m pytest -q -n $(WORKERS) --dist worksteal \
	  --cov --cov-report=term:skip-covered --cov-report=html

properties: $(STAMP)  ## run the property tests with ten times the examples, drawn anew
	$(ONE_THREAD) $(PY) -m pytest -q -n $(WORKERS) --hypothesis-profile=thorough -k properties

slow: $(STAMP)  ## run the tests that take minutes
	$(ONE_THREAD) $(PY) -m pytest -q -n $(WORKERS) -m slow

chaos: $(STAMP)  ## kill a real sweep a hundred times at random: no byte may change (allow an hour)
	$(ONE_THREAD) $(PY) -m pytest -q -n 0 -s -m chaos tests/launch

fuzz: $(STAMP)  ## damage every kind of file of a study in every way, SEEDS times (3): no other number, no traceback
	PRISM_FUZZ=$(SEEDS) $(ONE_THREAD) $(PY) -m pytest -q -n 0 -s -m fuzz tests/store

test-cluster: $(STAMP)  ## run sweeps on a real Slurm (Debian: slurm-wlm) and a real Ray; skip what is missing
	@$(PY) -c 'import ray' 2>/dev/null || $(PY) -m pip install -q --disable-pip-version-check 'ray>=2.50' \
	  || echo "Ray cannot be installed here: its tests are skipped"
	$(ONE_THREAD) $(PY) -m pytest -q -n 0 -m cluster tests/launch

learn: $(STAMP)  ## train to the scores that algos/README.md promises (an hour or more)
	$(ONE_THREAD) $(PY) -m pytest -q -n $(WORKERS) -m learn

textbook: $(STAMP)  ## repeat the figures of Sutton and Barto's book (minutes)
	$(ONE_THREAD) $(PY) -m pytest -q -n $(WORKERS) -m textbook tests/textbook

bench: $(STAMP)  ## measure speed, alone and against a peer
	$(PY) -m tools.bench

lint: $(STAMP)  ## check style, format and spelling
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m codespell_lib

format: $(STAMP)  ## put the code into its format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: $(STAMP)  ## check types
	$(PY) -m mypy

check: lint types test  ## all that a change must pass

dist: $(STAMP)  ## build the source archive and the wheel of the last commit into dist/, and check them
	rm -rf dist
	$(PY) -m tools.dist dist

clean:  ## remove caches; results and .venv stay
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov build dist *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
