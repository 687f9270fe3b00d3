# Three commands for a newcomer: `make demo`, `make demo KEEP=1` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-unit test-long mutants spark recipes clients chaos soak births apply-rehearsal boot-rehearsal release checkov bench lint format lock clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml client/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Kalshi Fleet needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@echo "making $(VENV) and installing what the lock file names: a minute or some, 1 GB"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e client
	@touch $@

install: $(STAMP) ## make the virtual environment from the lock file

demo: $(STAMP) ## a whole fleet on this machine for a minute, broken on the way, then the verdict (KEEP=1: then one that stays)
	$(BIN)/fleet demo $(if $(KEEP),--keep)

test: $(STAMP) ## run the tests (the replay of real frames needs KALSHI_RECORDINGS)
	$(BIN)/python -m pytest -m "not long" -n 3 --dist worksteal

test-unit: $(STAMP) ## run the tests without a database or a process: half a minute
	$(BIN)/python -m pytest tests/unit -m "not long" -n 2 --dist worksteal

spark: $(VENV)/.spark ## install PySpark for `fleet rebuild --engine spark` (455 MB; it needs Java 17)

$(VENV)/.spark: $(STAMP) requirements-spark.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-spark.lock
	@touch $@

recipes: $(VENV)/.recipes ## install what docs/notebook.md shows recipes for: pandas, polars, matplotlib, hftbacktest, NautilusTrader

$(VENV)/.recipes: $(STAMP) requirements-recipes.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-recipes.lock
	@touch $@

clients: .venv-clients/.installed ## install other people's clients of the exchange, against which the simulator is held (their own environment)

.venv-clients/.installed: requirements-clients.lock
	$$($(PYTHON) tests/support/clients/interpreter.py) -m venv .venv-clients
	.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-clients.lock
	@touch $@

test-long: $(STAMP) spark recipes clients ## run the tests with the large counts
	FLEET_TEST_LONG=1 $(BIN)/python -m pytest -n 2 --dist worksteal --timeout=3600

mutants: $(STAMP) ## plant faults one at a time and show which test finds each (SAMPLE=10: so many, others each day; AREA=reader)
	$(BIN)/python -m workshop.mutants $(AREA) $(if $(SAMPLE),--sample $(SAMPLE))

chaos: $(STAMP) ## a fleet under load, broken at random for ten minutes, then the verdict (SEED=, SECONDS=, RATE=)
	$(BIN)/python -m workshop.rehearsal.chaos $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(RATE),--rate $(RATE))

soak: $(STAMP) ## a fleet under steady load for hours, with a report of memory, files, lag and drift (HOURS=, RATE=)
	$(BIN)/python -m workshop.rehearsal.soak $(if $(HOURS),--hours $(HOURS)) $(if $(RATE),--rate $(RATE))

births: $(STAMP) ## a fleet while a hundred combos are born and settle a second beside an event history without an end (SECONDS=, BIRTHS=, GATHERERS=)
	$(BIN)/python -m workshop.rehearsal.births $(if $(SECONDS),--seconds $(SECONDS)) $(if $(BIRTHS),--births $(BIRTHS)) $(if $(GATHERERS),--gatherers $(GATHERERS))

apply-rehearsal: $(STAMP) ## terraform apply against a local AWS, a fleet from its files, destroy (needs terraform and the AWS provider)
	$(BIN)/python -m workshop.rehearsal.apply

boot-rehearsal: $(STAMP) ## boot the machines that Terraform makes under a real systemd, through reboots, replacements and failures (SCENE=, FAULT=; root)
	$(BIN)/python -m workshop.rehearsal.boot $(addprefix --scene ,$(SCENE)) $(if $(FAULT),--fault $(FAULT))

release: $(STAMP) ## build/kalshi-fleet-VERSION.tar.gz for the machines: both wheels, what they need by digest, deploy/ and the runbooks; and the library's wheel beside it
	rm -rf build client/build && mkdir -p build/release/kalshi-fleet/docs
	SOURCE_DATE_EPOCH=315532800 $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w build/release/kalshi-fleet . ./client
	cp build/release/kalshi-fleet/kalshi_fleet_client-*.whl build/
	cp -r requirements-run.lock deploy configs build/release/kalshi-fleet/ && cp -r docs/runbooks build/release/kalshi-fleet/docs/
	rm -rf build/release/kalshi-fleet/deploy/terraform
	tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C build/release -cf - kalshi-fleet | gzip -n > build/kalshi-fleet-$(VERSION).tar.gz
	@cd build && sha256sum kalshi-fleet-$(VERSION).tar.gz kalshi_fleet_client-*.whl

checkov: .venv-checkov/.installed ## look for insecure settings in deploy/terraform (its own environment)
	.venv-checkov/bin/checkov --config-file deploy/terraform/.checkov.yaml

.venv-checkov/.installed: requirements-checkov.lock
	$(PYTHON) -m venv .venv-checkov
	.venv-checkov/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-checkov.lock
	@touch $@

bench: $(STAMP) ## measure capture, loader, gatherer and a million markets against their ceilings; writes bench.json
	$(BIN)/python -m workshop.bench

lint: $(STAMP) ## format check, lint and strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP) ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: export PIP_FIND_LINKS = build/lock
lock: $(STAMP) clients ## compile requirements.lock again from pyproject.toml (the library is built with the fleet, and is in no lock)
	rm -rf build/lock client/build && $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w build/lock ./client
	$(BIN)/pip-compile --quiet --extra dev --generate-hashes --allow-unsafe --strip-extras \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras -c requirements.lock \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o requirements-run.lock pyproject.toml
	$(BIN)/pip-compile --quiet --extra spark --generate-hashes --allow-unsafe --strip-extras -c requirements.lock \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o requirements-spark.all pyproject.toml
	awk '/^[a-z]/ {keep = /^(pyspark|py4j)==/} keep' requirements-spark.all > requirements-spark.lock
	rm requirements-spark.all
	echo checkov | $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o requirements-checkov.lock -
	.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check pip-tools  # a lock of a newer Python
	.venv-clients/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o requirements-clients.lock requirements-clients.in
	$(BIN)/pip-compile --quiet --extra recipes --generate-hashes --allow-unsafe --strip-extras -c requirements.lock \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o requirements-recipes.lock pyproject.toml
	for lock in requirements requirements-run requirements-recipes; do \
	  awk '/^[^ ]/ {keep = !/^kalshi-fleet-client==/} keep' $$lock.lock > build/lock/one && cp build/lock/one $$lock.lock; done

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .venv-checkov .venv-clients build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
