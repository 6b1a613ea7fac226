# make demo, make test: everything that they need is set up in .venv first. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header

# The dependencies were resolved together on 3.11, so that one comes first.
CANDIDATES := $(PYTHON) python3.11 python3.12 python3.13 python3 python
SUPPORTED := import sys; raise SystemExit(not (3, 11) <= sys.version_info < (3, 14))

# A large wheel on a slow line, and a house that has its own package index.
export UV_HTTP_TIMEOUT ?= 300
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
# Without byte code every start would compile TensorFlow anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo setup test test-slow benchmarks lint lock clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 20

demo: $(STAMP)  ## One whole night on real S&P 500 bars, on the CPU, with no server to start.
	@$(BIN)/nocturne retrain --demo

test: lint  ## Lint, types and the everyday test suite.
	@$(BIN)/python -m pytest -m "not slow"

test-slow: $(STAMP)  ## The tests that take longer.
	@$(BIN)/python -m pytest -m slow

benchmarks: $(STAMP)  ## Every benchmark against its baseline, into benchmarks/RESULTS.md; for a machine that does nothing else.
	@$(BIN)/python -m benchmarks

lint: $(STAMP)  ## Style (ruff) and types (mypy).
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

setup: $(STAMP)  ## Python environment in .venv, exactly as locked; instant when nothing changed.

lock: $(STAMP)  ## Resolve the dependencies of pyproject.toml anew into the lock files.
	@$(COMPILE) --upgrade pyproject.toml --extra dev --extra demo -o requirements.lock
	@$(COMPILE) --upgrade --group setup -c requirements.lock -o requirements-setup.lock
	@$(COMPILE) --upgrade pyproject.toml --extra gpu -c requirements.lock \
	  | awk '/^[a-z]/ {keep = /^nvidia-/} keep' > deploy/requirements-gpu.lock  # beside the other, for the GPU image

clean:  ## Remove the environment and caches. Data and models under .nocturne stay.
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements-setup.lock requirements.lock pyproject.toml
	@python=; \
	for candidate in $(CANDIDATES); do \
	  if "$$candidate" -c '$(SUPPORTED)' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Nocturne needs Python 3.11, 3.12 or 3.13; none was found (found: $$(python3 --version 2>&1 | head -1))." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; \
	fi; \
	if [ ! -x $(BIN)/pip ] && ! "$$python" -m venv $(VENV) >&2; then \
	  echo "$$python cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; \
	fi
	@echo "Setting up $(VENV) (about 2 GB; some minutes the first time) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-setup.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@
