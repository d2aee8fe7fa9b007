# Everything people and CI run. Needs python 3.11 or newer and make; the rest goes into .venv.

# The first interpreter that is new enough; choose your own with `make PYTHON=…`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Installed before everything else, so that a CPU or CUDA build of your choice stays in place.
TORCH ?= torch==2.13.0
# The longest first, so that both halves of a run end together. `make test TESTS=tests/unit` or
# `ARGS='-k lease'` narrows a run; JOBS=0 runs one test after the other.
TESTS ?= $(wildcard tests/acceptance tests/chaos tests/integration tests/unit)
JOBS ?= 2
ARGS ?=
# Tests that take long and have a quicker neighbour run with `make test-all` alone.
MARKS ?= not slow
# Of a chaos run; FAULTS ends it after so many instead of after MINUTES.
SEED ?= 1
MINUTES ?= 10
FAULTS ?= 0

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CODE := schemas producer worker $(wildcard tests benchmarks)

# One environment, three stamps: torch, then either the demo's extras or everything.
TORCH_STAMP := .venv/.installed-torch
DEMO_STAMP := .venv/.installed-demo
TEST_STAMP := .venv/.installed-test
# The test environment holds all that a run needs; without it the smaller one will do.
RUN_STAMP := $(if $(wildcard $(TEST_STAMP)),$(TEST_STAMP),$(DEMO_STAMP))

# Tests and demo start hundreds of processes: each would compile our modules anew.
unexport PYTHONDONTWRITEBYTECODE
# Models and data come from packages and files, never from a hub.
export HF_HUB_OFFLINE := 1

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-all chaos gpu check format bench clean distclean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(TEST_STAMP) ## Make .venv with everything for tests and checks

demo: $(RUN_STAMP) ## Score a small corpus from start to finish on this machine
	$(BIN)/python -m producer.demo

test: $(TEST_STAMP) ## Run unit, integration, acceptance and short chaos tests
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations=15 -m '$(MARKS)' $(ARGS) $(TESTS)

test-all: MARKS = slow or not slow
test-all: test ## Run every test, the slow ones as well

chaos: $(TEST_STAMP) ## Break everything at random: SEED=7 MINUTES=10, or FAULTS=200
	PYTHONPATH=tests $(BIN)/python -m support.chaos --seed $(SEED) --minutes $(MINUTES) --faults $(FAULTS) $(ARGS)

gpu: $(TEST_STAMP) ## Run the tests that need a CUDA device
	$(BIN)/python -m pytest --durations=15 $(ARGS) tests/gpu

check: $(TEST_STAMP) ## Check format, lint, types and imports
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports --no-logo

format: $(TEST_STAMP) ## Format the code and apply safe fixes
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

bench: $(TEST_STAMP) ## Run the benchmarks
	$(BIN)/python benchmarks/run.py

clean: ## Remove caches and build outputs
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .grimp_cache
	find $(CODE) -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## Remove .venv as well
	rm -rf .venv

$(TORCH_STAMP): constraints.txt
	@test -n "$(PYTHON)" || { echo "bulkscore needs python 3.11 or newer on the PATH" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install -c constraints.txt '$(TORCH)'
	@touch $@

$(DEMO_STAMP): $(TORCH_STAMP) pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[worker,train,local]'
	@touch $@

$(TEST_STAMP): $(TORCH_STAMP) pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[test]'
	@touch $@
