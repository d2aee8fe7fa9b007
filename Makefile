# Everything people and CI run. Needs python 3.11 or newer and make; the rest goes into .venv.

# The first interpreter that is new enough; choose your own with `make PYTHON=…`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Installed before everything else, so that a CPU or CUDA build of your choice stays in place.
TORCH ?= torch==2.13.0
# The longest first, so that the processes of a run end together; more of them than two cores, since
# many tests wait for something. `make test TESTS=tests/unit` or
# `ARGS='-k lease'` narrows a run; JOBS=0 runs one test after the other.
TESTS ?= $(wildcard tests/acceptance tests/chaos tests/integration tests/unit)
JOBS ?= 3
ARGS ?=
# Tests that take long and have a quicker neighbour run with `make test-all` alone.
MARKS ?= not slow
# Of the images: what builds them, from which base, and further flags, such as
# `BUILD_FLAGS='--build-arg PIP_EXTRA_INDEX_URL=…'` for an index that holds CPU builds of torch.
BUILDER ?= $(shell for b in docker podman buildah; do $$b info >/dev/null 2>&1 && echo $$b && break; done)
BASE ?= python:3.12-slim-bookworm
IMAGE_PREFIX ?=
IMAGE_TAG ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
BUILD_FLAGS ?=
# Of a chaos run; FAULTS ends it after so many instead of after MINUTES.
SEED ?= 1
MINUTES ?= 10
FAULTS ?= 0

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CODE := schemas producer worker $(wildcard tests benchmarks)

# One environment, three stamps: torch, then either the demo's extras or everything. Of the modules
# a tenth is ever imported, and compiled then.
TORCH_STAMP := .venv/.installed-torch
DEMO_STAMP := .venv/.installed-demo
TEST_STAMP := .venv/.installed-test
# An environment of its own: its pins are not ours, and it takes minutes to install.
CHECKOV_STAMP := .venv-checkov/.installed
# The test environment holds all that a run needs; without it the smaller one will do.
RUN_STAMP := $(if $(wildcard $(TEST_STAMP)),$(TEST_STAMP),$(DEMO_STAMP))

# Tests and demo start hundreds of processes: each would compile our modules anew.
unexport PYTHONDONTWRITEBYTECODE
# Models and data come from packages and files, never from a hub.
export HF_HUB_OFFLINE := 1

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-all chaos gpu check audit format bench images images-check images-test sbom k8s-check clean distclean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

check: images-check $(TEST_STAMP) ## Check format, lint, types, imports, and how images are built
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports --no-logo

audit: $(TEST_STAMP) ## Look the pinned packages up among known vulnerabilities
	$(PIP) install -c constraints.txt pip-audit
	.ci/audit $(BIN)/pip-audit '$(TORCH)'

format: $(TEST_STAMP) ## Format the code and apply safe fixes
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

bench: $(TEST_STAMP) ## Run the benchmarks
	$(BIN)/python benchmarks/run.py

images: ## Build the images of producer, worker and dashboard: TORCH, BASE, IMAGE_TAG, BUILD_FLAGS
	@test -n "$(BUILDER)" || { echo "no docker, podman or buildah that answers; name one: make images BUILDER=…" >&2; exit 1; }
	$(BUILD_IMAGE) --target flower -f docker/producer.Dockerfile -t $(IMAGE_PREFIX)bulkscore-flower:$(IMAGE_TAG) .
	$(BUILD_IMAGE) -f docker/producer.Dockerfile -t $(IMAGE_PREFIX)bulkscore-producer:$(IMAGE_TAG) .
	$(BUILD_IMAGE) --build-arg TORCH='$(TORCH)' -f docker/worker.Dockerfile -t $(IMAGE_PREFIX)bulkscore-worker:$(IMAGE_TAG) .

# buildah and podman leave health checks out of images of their own format.
BUILD_IMAGE = $(BUILDER) build $(if $(filter docker,$(notdir $(firstword $(BUILDER)))),,--format docker) \
	--build-arg BASE=$(BASE) --build-arg VERSION=$(IMAGE_TAG) \
	--build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null || echo unknown) $(BUILD_FLAGS)

images-check: $(TEST_STAMP) ## Check the image files and the compose file
	$(BIN)/hadolint --config docker/hadolint.yaml docker/producer.Dockerfile docker/worker.Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml

images-test: $(TEST_STAMP) ## Build the images and run a job in them; minutes, as root, on Debian
	$(BIN)/python -m pytest -s --timeout=0 $(ARGS) tests/images

sbom: $(TEST_STAMP) ## Write what the environment consists of to build/sbom.json (CycloneDX)
	@mkdir -p build
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o build/sbom.json $(BIN)/python

k8s-check: $(TEST_STAMP) $(CHECKOV_STAMP) ## Check the Kubernetes manifests: fields, names, security
	$(BIN)/python -m pytest -q tests/unit/test_k8s_manifests.py
	@mkdir -p build/k8s
	@set -e; for overlay in $(notdir $(wildcard k8s/overlays/*)); do \
		$(BIN)/kubectl kustomize k8s/overlays/$$overlay >build/k8s/$$overlay.yaml; done
	.venv-checkov/bin/checkov --directory build/k8s --config-file k8s/checkov.yaml
	@# What it has to refuse, or it checks nothing.
	@mkdir -p build/k8s-bad
	@sed 's/readOnlyRootFilesystem: true/readOnlyRootFilesystem: false/' build/k8s/dev.yaml >build/k8s-bad/dev.yaml
	@! .venv-checkov/bin/checkov --directory build/k8s-bad --config-file k8s/checkov.yaml >/dev/null

clean: ## Remove caches and build outputs
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .grimp_cache
	find $(CODE) -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## Remove .venv as well
	rm -rf .venv .venv-checkov

$(TORCH_STAMP): constraints.txt
	@test -n "$(PYTHON)" || { echo "bulkscore needs python 3.11 or newer on the PATH" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install --no-compile -c constraints.txt '$(TORCH)'
	@touch $@

$(DEMO_STAMP): $(TORCH_STAMP) pyproject.toml constraints.txt
	$(PIP) install --no-compile -c constraints.txt -e '.[worker,train,local]'
	@touch $@

$(TEST_STAMP): $(TORCH_STAMP) pyproject.toml constraints.txt
	$(PIP) install --no-compile -c constraints.txt -e '.[test]'
	@touch $@

$(CHECKOV_STAMP):
	$(PYTHON) -m venv .venv-checkov
	.venv-checkov/bin/python -m pip --disable-pip-version-check --quiet install 'checkov==3.3.30'
	@touch $@
