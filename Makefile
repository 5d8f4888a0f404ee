# `make help` explains the targets. Everything a target needs, it installs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.8
VENV := .venv
RUN := $(VENV)/bin

# A GPU machine takes torch as published; elsewhere its CUDA libraries, 4 GB
# that a CPU never calls, are left out (hack/cpu_torch.py).
HAS_GPU := $(wildcard /dev/nvidiactl)
CUDA_PACKAGES = $(shell sed -nE 's/^name = "((nvidia|cuda)-.*|triton)"$$/\1/p' uv.lock \
	| grep -vxE 'nvidia-cuda-(runtime|cupti)')
SKIP_CUDA = $(if $(HAS_GPU),,$(CUDA_PACKAGES:%=--no-install-package %))

.PHONY: help
help: ## Explain the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(VENV)/.ready: pyproject.toml uv.lock hack/cpu_torch.py
	@test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(RUN)/uv || $(RUN)/python -m pip install --quiet uv==$(UV_VERSION)
	@echo "Installing the Python environment (uv.lock)"
	@$(RUN)/uv sync --quiet --locked --extra hf --extra azure --compile-bytecode $(SKIP_CUDA)
	@$(if $(HAS_GPU),true,$(RUN)/python hack/cpu_torch.py $(VENV)/lib/python3.*/site-packages)
	@touch $@

.PHONY: env
env: $(VENV)/.ready ## Install the Python environment into .venv

.PHONY: demo
demo: env ## From nothing to a model that answers: cluster, images, operator, Workspace
	@$(RUN)/python -m hack.demo

.PHONY: test
test: lint cluster unit e2e ## Every check: lint, types, unit tests, end-to-end tests

.PHONY: lint
lint: env ## Check format, style, types, import contracts and generated files
	@$(RUN)/ruff format --check --quiet .
	@$(RUN)/ruff check --quiet .
	@$(RUN)/mypy -p pykaito -p hack
	@$(RUN)/lint-imports
	@$(RUN)/python -m hack.generate --check
	@$(RUN)/uv lock --check --quiet

.PHONY: unit
unit: env ## Run the unit tests
	@$(RUN)/pytest tests/unit -n 2 --dist loadfile -q

.PHONY: e2e
e2e: cluster images ## Run the end-to-end tests on a real cluster
	@$(RUN)/pytest tests/e2e -q -n 2 --dist loadfile -m 'not serial'
	@$(RUN)/pytest tests/e2e -q -m serial

.PHONY: soak
soak: cluster images ## The long form of what `make test` does briefly: kills, state machines, rounds
	@SOAK_KILLS=50 $(RUN)/pytest tests/e2e/test_lifecycle.py -q --timeout 3600
	@SOAK_WORKSPACES=200 SOAK_OPERATOR_KILLS=10 $(RUN)/pytest \
		tests/e2e/provisioners/test_many_workspaces.py -q --timeout 3600
	@SOAK_FACTOR=20 $(RUN)/pytest tests/unit/operator tests/unit/runtime/hf \
		tests/unit/provisioners/azure_arm -q -n 2 \
		-k 'machine or fuzz or openapi or batching or choice' --timeout 3600
	@SOAK_FACTOR=11 $(RUN)/pytest tests/e2e/test_vllm.py -q -k hang --timeout 7200
	@$(RUN)/python -m hack.cluster rounds 5

.PHONY: cluster
cluster: env ## Bring up a real Kubernetes on this machine (.cluster/kubeconfig)
	@$(RUN)/python -m hack.cluster up

.PHONY: cluster-down
cluster-down: env ## Remove every trace of the cluster
	@$(RUN)/python -m hack.cluster down

.PHONY: images
images: cluster ## Build the images and push them to the cluster's registry
	@$(RUN)/python -m hack.images push

.PHONY: generate
generate: env ## Generate the CRDs, schemas and tables of the docs
	@$(RUN)/python -m hack.generate

.PHONY: bench
bench: cluster ## Measure, against a named baseline
	@$(RUN)/python -m hack.bench

.PHONY: clean
clean: ## Remove the environment and what tools left behind
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
