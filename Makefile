# Covey's commands. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
BIN := .venv/bin
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo --preserve-env=COVEY_HOME,DOCKER_HOST)
# Where Debian keeps dockerd, nft and iptables; neither a user's path nor that of a plain "su" leads there.
export PATH := $(PATH):/usr/sbin:/sbin

help: ## what each command does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/.installed: pyproject.toml requirements.lock
	@bash scripts/bootstrap.sh python

install: .venv/.installed ## a virtual environment with the pinned dependencies

lint: .venv/.installed ## formatting, rules, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: ## every test (installs and starts what it needs)
	@bash scripts/bootstrap.sh test
	$(BIN)/pytest $(TESTS)

test-vm: ## make quickstart on a Debian machine of its own, in QEMU (an hour or more)
	@bash scripts/bootstrap.sh vm
	$(AS_ROOT) env PYTHONDONTWRITEBYTECODE=1 $(BIN)/pytest -p no:cacheprovider tests/vm

quickstart: ## a cluster of three nodes on this machine, serving a page
	@bash scripts/bootstrap.sh all
	$(AS_ROOT) $(PYTHON) -m cli.main quickstart

down: ## remove everything the cluster made on this machine
	$(AS_ROOT) $(PYTHON) -m cli.main down

bench: ## measure, and compare with what else is there
	@bash scripts/bootstrap.sh all
	$(PYTHON) -m bench

simulate: .venv/.installed ## the cluster on virtual time with faults: SEEDS=1-100
	$(PYTHON) -m tests.simulation $(SEEDS)

.PHONY: help install lint test test-vm quickstart down bench simulate
