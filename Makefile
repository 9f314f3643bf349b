# Two commands to begin with: `make up` for a running sandbox, `make test` for the tests. `make help` lists the rest.

DATA ?= ./.sandbox
PORTS ?= 8420
RAILS ?= bitcoin,evm,bank,simulated
PYTHON = .venv/bin/python
TESTS ?= tests
SHELL = /bin/bash

.PHONY: help up down status setup lint types contracts tidy test check faults mutants bench screenshots

help: ## Say what there is
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

up: ## Start a sandbox with real nodes (DATA=DIR PORTS=BASE RAILS=LIST)
	@bin/strongroom up --data "$(DATA)" --ports "$(PORTS)" --rails "$(RAILS)" --detach

down: ## Stop the sandbox and everything that it started
	@bin/strongroom down --data "$(DATA)"

status: ## What runs in the sandbox
	@bin/strongroom status --data "$(DATA)"

setup:
	@STRONGROOM_DEV=1 STRONGROOM_SETUP_ONLY=1 bin/strongroom

lint: setup
	@$(PYTHON) -m ruff check src tests tools benchmarks

types: setup
	@$(PYTHON) -m mypy --strict src tools benchmarks

contracts: setup
	@.venv/bin/lint-imports --no-cache --no-logo

tidy: setup
	@$(PYTHON) tools/tidy.py

test: setup ## Run the tests, with all that they need
	@$(PYTHON) -m pytest -n 2 $(TESTS)

check: setup ## What CI runs: lint, types, import contracts, tidy, tests, every branch of the trusted core
	@tools/check.sh

faults: setup ## The fault tests at full counts
	@STRONGROOM_FAULTS=full $(PYTHON) -m pytest -m faults tests/faults tests/adversary tests/contracts tests/e2e

mutants: setup ## Plant bugs, one for each rule of the signer and more, and see the tests catch all of them
	@PYTHONPATH=. $(PYTHON) tools/mutants.py

screenshots: setup ## Every page as a picture, into screenshots/ and the documents
	@$(PYTHON) tools/screenshots.py

bench: setup ## Measure the ratios and write benchmarks/latest.json
	@bin/strongroom bench
