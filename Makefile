# The one command surface. Every target does its own set-up; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# ENGINES=real: Kafka, Cassandra, Redis and PostgreSQL on this machine instead of the embedded ones
ENGINES ?=
$(if $(filter-out real embedded,$(ENGINES)),$(error ENGINES is real or embedded, not $(ENGINES)))
ENGINES_FOLDER ?= .marquee-engines
ENGINES_PORT ?=
REAL := $(filter real,$(ENGINES))
STATE ?= $(if $(REAL),$(ENGINES_FOLDER)/state,.marquee)
PORT ?= 8000
DATA ?=
export MARQUEE_ENGINES_FOLDER := $(ENGINES_FOLDER)
export MARQUEE_ENGINES_PORT := $(ENGINES_PORT)
export MARQUEE_STATE := $(STATE)
export MARQUEE_PORT := $(PORT)
# onnxruntime reports to its maker unless it is told not to
export ORT_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help run engines-up engines-down engines-status test check bench load-test eval chaos lock format clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/.run: requirements.lock deploy/bootstrap.lock pyproject.toml
	@deploy/install.sh $(PYTHON) $(VENV) requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock deploy/bootstrap.lock pyproject.toml
	@deploy/install.sh $(PYTHON) $(VENV) requirements-dev.lock
	@touch $@ $(VENV)/.run

# starts the engines that do not run, and puts their addresses into the environment of what comes after it
WITH_ENGINES = $(if $(REAL),$(BIN)/marquee engines up >/dev/null && . $(abspath $(ENGINES_FOLDER))/engines.env &&)

run: $(VENV)/.run ## Start the platform (PORT=8000 STATE=.marquee DATA=path/to/movielens ENGINES=real)
	@$(WITH_ENGINES) $(BIN)/marquee up $(if $(DATA),--data $(DATA))

engines-up: $(VENV)/.run ## Start Kafka, Cassandra, Redis and PostgreSQL here (ENGINES_PORT=21000 ENGINES_FOLDER=path DOCKER=1)
	@$(BIN)/marquee engines up $(if $(DOCKER),--docker)

engines-down: $(VENV)/.run ## Stop them (WIPE=1: and remove their data)
	@$(BIN)/marquee engines down $(if $(DOCKER),--docker) $(if $(WIPE),--wipe)

engines-status: $(VENV)/.run ## Show which of them run and answer
	@$(BIN)/marquee engines status $(if $(DOCKER),--docker)

test: $(VENV)/.dev ## Run the tests
	@$(BIN)/pytest -n 2

check: $(VENV)/.dev ## Check format, lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.dev ## Measure parts against their limits, side by side in one run (ENGINES=real)
	@$(BIN)/python -m load_tests.bench $(if $(REAL),--engines real)

load-test: $(VENV)/.dev ## Hold a running platform against the service levels, open-loop (ENGINES=real)
	@$(BIN)/python -m load_tests $(if $(REAL),--engines real)

eval: $(VENV)/.dev ## Measure ranking quality beside known methods, and the statistics of experiments
	@$(BIN)/python -m training_bridge.evaluation
	@$(BIN)/python -m load_tests.experiments

chaos: $(VENV)/.dev ## Strike a platform at random moments; compare with a clean offline replay (FAULTS=20 ENGINES=embedded)
	@$(BIN)/python -m load_tests.chaos --faults $(or $(FAULTS),20) --engines $(or $(ENGINES),real)

lock: ## Renew the locks: pinned by hash, free of download addresses
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11 --upgrade pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11 --extra dev pyproject.toml -c requirements.lock -o requirements-dev.lock

format: $(VENV)/.dev ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove what make made (the state folder stays: see `marquee reset`)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache results
