# Everything runs in .venv, which is made on first use and brought up to date when the requirements change.

PYTHON ?= python3
AT_ONCE ?= 4
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/requirements.stamp

# Buildmasters and commands start hundreds of times in the tests: each would compile all of its modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo up down test lint bench bench-quick bench-cluster faults faults-nightly

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP) ## plays the whole story on real servers and prints what came of it
	@$(BIN)/python -m demo story

up: $(STAMP) ## starts the demo's servers and Buildbot and keeps them running
	@$(BIN)/python -m demo up

down: $(STAMP) ## stops what `make up` started
	@$(BIN)/python -m demo down

test: $(STAMP) ## units first, then real servers, then the story end to end
	@$(BIN)/python -m pytest -n $(AT_ONCE)

lint: $(STAMP) ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: $(STAMP) ## measures outages beside those of other means, and all costs as the work grows; writes docs/benchmarks.md
	@$(BIN)/python -m bench --write

bench-quick: $(STAMP) ## a small form of what has ratios, under two minutes, without a verdict
	@$(BIN)/python -m bench --quick

bench-cluster: $(STAMP) ## measures clients behind a pooler, readers of standbys, how soon a pause is undone, many databases
	@$(BIN)/python -m bench pooler
	@$(BIN)/python -m bench.cluster

faults: $(STAMP) ## kills, cuts and breaks everything on purpose and prints what was measured
	@$(BIN)/python -m demo faults

faults-nightly: $(STAMP) ## 300 faults at random instants, while writers check themselves
	@$(BIN)/python -m demo chance --rounds 150

$(STAMP): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is `$(PYTHON) --version 2>&1`." \
	         "Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments: apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the requirements into $(VENV) …"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --root-user-action=ignore -r requirements-dev.txt
	@touch $@
