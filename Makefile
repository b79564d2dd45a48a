# The commands of this repository; `make` alone lists them.
#   make serve                  the application with its demonstration models, on http://127.0.0.1:8000
#   make serve PORT=8001        on another port
#   make serve TLS=1            with TLS 1.3, on https://127.0.0.1:8443
#   make serve MODEL=<model>    a model from the hub, or a checkpoint folder, instead
#   make setup EXTRA=gpu        dependencies for machines with NVIDIA GPUs

EXTRA ?= cpu
CONFIG ?= serve_config.yaml
MODEL ?=
PORT ?=
TLS ?=

BIN := .venv/bin
IS_PYTHON := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
# Asked only when it is needed: by `make setup` and `make lock`.
PYTHON ?= $(shell for name in python3.11 python3.12 python3; do \
	$$name -c '$(IS_PYTHON)' 2>/dev/null && { echo $$name; break; }; done)

.PHONY: help setup demo serve stop test test-cluster manifests lint bench lock clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## create .venv with the locked dependencies (quick when nothing has changed)
	@test -n "$(PYTHON)" || { echo "error: there is no Python 3.11 or 3.12; on Debian: apt-get install python3 python3-venv," \
	  "or name one: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m scripts.bootstrap --extra $(EXTRA)

demo: setup ## make the demonstration models, once
	@$(BIN)/python -m deployments.demo --out models

serve: $(if $(MODEL),setup,demo) ## start everything; Ctrl-C stops it (PORT=8001, TLS=1, MODEL=<hub id or folder>)
	@exec $(BIN)/qwen-serve up --config $(CONFIG) $(if $(MODEL),--model '$(MODEL)') $(if $(PORT),--port $(PORT)) $(if $(filter-out 0,$(TLS)),--tls)

stop: ## stop the application of this folder, or clear what a killed one has left
	@$(BIN)/qwen-serve stop

lint: setup ## style, import direction, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test: setup demo lint ## everything: lint, then all tests
	$(BIN)/python -m pytest

test-cluster: setup ## what is installed on a cluster: chart, manifests, policies, Dockerfiles
	$(BIN)/python -m pytest tests/cluster

manifests: setup ## copy into the chart what it carries, and render the plain manifests of cluster/kuberay anew
	$(BIN)/python -m cluster.kuberay

bench: setup demo ## every peer side by side: a table, bench/results/*.json and a plot (about 20 minutes)
	@exec $(BIN)/python -m bench

lock: ## make the locks in requirements/ again
	@$(PYTHON) -m scripts.lock

clean: ## remove .venv, the demonstration models, logs and caches; the signing secret stays
	@test ! -x $(BIN)/qwen-serve || $(BIN)/qwen-serve stop
	rm -rf .venv models/demo-* .qwen-serve/logs build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
