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
	@$(RUN)/uv sync --quiet --locked --extra hf $(SKIP_CUDA)
	@$(if $(HAS_GPU),true,$(RUN)/python hack/cpu_torch.py $(VENV)/lib/python3.*/site-packages)
	@touch $@

.PHONY: env
env: $(VENV)/.ready ## Install the Python environment into .venv
