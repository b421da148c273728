# `make demo` is the way in; every target first makes .venv from the exact versions in constraints.txt.
# PYTHON chooses the interpreter (3.11 or newer): make demo PYTHON=/path/to/python3.12

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# One process more than cores, as tests wait for their servers; a file's tests share those, so they stay together. Files in
# their order: xdist would put those of few tests last, which are the long ones.
PROCESSES = $(shell $(BIN)/python -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))')
PARALLEL = -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c '$(NEW_ENOUGH)' 2>/dev/null && echo "$$python" && break; done)

.PHONY: help install demo test test-long bench lint
.DEFAULT_GOAL := help

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

install: $(INSTALLED) ## Make .venv with everything that the other targets need

$(INSTALLED): setup.cfg pyproject.toml constraints.txt mlflow_ppo_flavor/version.py
	@if [ -z "$(PYTHON)" ]; then echo "make: no Python 3.11 or newer found: install one, or give PYTHON=…" >&2; exit 1; fi
	@if [ ! -x $(BIN)/python ]; then "$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; fi
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev]'
	@touch $@

demo: $(INSTALLED) ## Train, register, refuse, promote and trade, on real bars
	$(BIN)/mlflow-ppo demo

test: $(INSTALLED) ## Every behaviour once, counts sampled: at most 10 minutes
	$(BIN)/python -m pytest $(PARALLEL)

test-long: $(INSTALLED) ## The counts that a release needs
	MLFLOW_PPO_TIER=long $(BIN)/python -m pytest $(PARALLEL)

bench: $(INSTALLED) ## Measure speed
	$(BIN)/python -m pytest -m bench -s

lint: $(INSTALLED) ## Format, style, types, the layers between the packages, and the version bumps owed to spec.lock
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mlflow-ppo spec check
