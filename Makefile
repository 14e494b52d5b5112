# Fluvial. `make` lists the targets; each does its own set-up.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PACKAGES := shared source-controller kustomize-controller helm-controller notification-controller cli devcluster
SOURCES := $(PACKAGES:%=%/src) tests bench

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

# --- environment: one stamp for what runs, one for what tests ---------------------------------

$(VENV)/.run: requirements/run.txt $(PACKAGES:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(PACKAGES:%=-e ./%)
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

# Helm's engine, for helm-controller and for tests: a Go library, 75 MB to fetch and 244 MB on disk.
# Its wheels are for glibc 2.28 and newer and for macOS on arm64; elsewhere nothing is rendered, and
# the tests that need it are skipped.
$(VENV)/.helm: $(VENV)/.run requirements/helm.txt
	@if $(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/helm.txt; then touch $@; \
	  else echo 'helm-python-sdk could not be installed: Helm charts cannot be rendered, tests of Helm are skipped' >&2; [ "$${FLUVIAL_REQUIRE_HELM:-}" != 1 ]; fi

# Servers of object storage for tests, beside what runs: they need other versions of the same packages.
$(VENV)/.storage: requirements/storage.txt | $(VENV)/.run
	$(PYTHON) -m venv $(VENV)/storage
	$(VENV)/storage/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/storage.txt
	@touch $@

.PHONY: lock
lock: ## Pin all dependencies with hashes again (needs uv; maintainers)
	for use in run helm dev storage; do \
	  (cd requirements && uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade $$use.in -o $$use.txt); \
	done

# --- checks ------------------------------------------------------------------------------------

.PHONY: lint
lint: $(VENV)/.dev ## Style: ruff's rules and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: typecheck
typecheck: $(VENV)/.dev ## Types: mypy strict over sources and tests
	$(BIN)/mypy $(SOURCES)

.PHONY: imports
imports: $(VENV)/.dev ## Layers: import-linter
	PYTHONPATH= $(BIN)/lint-imports

.PHONY: test
test: $(VENV)/.dev $(VENV)/.helm $(VENV)/.storage ## All tests that need no Go
	bash tests/setup.sh
	$(BIN)/python -m pytest -n 2 -m 'not real'

.PHONY: fuzz
fuzz: $(VENV)/.dev ## Fuzz webhooks and events: 100,000 cases of each kind, some 20 minutes (N=100000)
	FLUVIAL_FUZZ=$(or $(N),100000) $(BIN)/python -m pytest -n 3 --timeout=0 tests/unit/notification_controller/test_fuzz.py

.PHONY: control-plane
control-plane: $(VENV)/.dev ## Build the real etcd, kube-apiserver and kube-controller-manager once
	PYTHONPATH=tests $(BIN)/python -m controlplane.build

.PHONY: gitea
gitea: $(VENV)/.dev ## Build a real Gitea once, for tests (needs Go and a C compiler)
	PYTHONPATH=tests $(BIN)/python -m githosts.build

.PHONY: e2e-real
e2e-real: $(VENV)/.dev $(VENV)/.helm ## Tests against the real control plane
	bash tests/setup.sh
	$(BIN)/python -m pytest -m real

.PHONY: manifests
manifests: $(VENV)/.run ## Generate the CRDs from the models
	$(BIN)/python -m fluvial.api.manifests charts/fluvial/crds

.PHONY: manifests-check
manifests-check: $(VENV)/.run ## Fail if the committed CRDs differ from the models
	$(BIN)/python -m fluvial.api.manifests charts/fluvial/crds --check

# --- things to run -----------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.run ## The main job in a minute: commit, apply, prune, refuse, recover
	$(BIN)/fluvial demo

.PHONY: dev
dev: $(VENV)/.run $(VENV)/.helm ## A cluster with the controllers, until Ctrl-C
	$(BIN)/fluvial dev

.PHONY: bench
bench: $(VENV)/.run ## Measure: commit to cluster, idle reconciles
	$(BIN)/python -m bench

.PHONY: bench-push
bench-push: $(VENV)/.run ## Measure: git push to cluster, woken by the webhook (PLANE=devcluster)
	$(BIN)/python -m bench --pushes 50 --control-plane $(or $(PLANE),devcluster)

.PHONY: bench-kustomizations
bench-kustomizations: $(VENV)/.run ## Measure N Kustomizations at once (N=100 PLANE=devcluster)
	$(BIN)/python -m bench load --n $(or $(N),100) --plane $(or $(PLANE),devcluster)

.PHONY: bench-helmreleases
bench-helmreleases: $(VENV)/.run $(VENV)/.helm ## Measure N HelmReleases at once (N=100 PLANE=real)
	$(BIN)/python -m bench load --workload helmreleases --controllers fluvial-helm --n $(or $(N),100) --plane $(or $(PLANE),real)

.PHONY: bench-report
bench-report: $(VENV)/.run ## Measure 100 and 1,000 on both control planes into docs/performance.md
	$(BIN)/python -m bench load --n 100,1000 --plane devcluster,real --report docs/performance.md --json bench-figures.json

.PHONY: bench-sources
bench-sources: $(VENV)/.run ## Measure large sources: time, and memory of the controller and its workers
	$(BIN)/python -m bench.sources

.PHONY: bench-helm
bench-helm: $(VENV)/.run $(VENV)/.helm ## Measure renders of Helm charts: time, memory, start, leaks
	$(BIN)/python -m bench.helm

.PHONY: bench-events
bench-events: $(VENV)/.run ## Measure notification-controller: 10,000 events a minute, a dead service, a kill
	$(BIN)/python -m bench.events

.PHONY: bench-devcluster
bench-devcluster: $(VENV)/.run ## Measure devcluster: start, memory, applies and watches
	$(BIN)/python -m bench.devcluster

.PHONY: clean
clean: ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
