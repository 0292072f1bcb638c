# `make` alone explains itself. Everything happens in .venv, made when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FRAMEWORKS := .venv-integrations
MODEL ?=

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types unit test-deep test-remotes test-integrations bench docs clean

help:  ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/made  ## Install, train a small model and walk through the main job (MODEL=path: on your own folder)
	$(BIN)/python tests/demo.py "$(MODEL)"

test: lint types unit  ## Everything that must pass: lint, types, tests, docs

check: test  ## The same as test, before a commit

lint: $(VENV)/made  ## Check style and form
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/made  ## Check types
	$(BIN)/mypy

unit: $(VENV)/made  ## Run the tests
	$(BIN)/pytest -n auto --dist worksteal

# Needs strace (apt-get install strace), and for one of them root, mkfs.ext4 and loop mounts; without, they are skipped.
test-deep: $(VENV)/made  ## Run the proofs that take long
	$(BIN)/pytest -n auto -m deep

test-remotes: $(VENV)/made  ## Run all tests against servers, good and bad ones
	$(BIN)/pytest -n auto -m 'deep or not deep' tests/remotes

# On Linux, PyTorch from the default index brings gigabytes for graphics cards; PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS
# can name a place with builds for processors, which are then taken.
test-integrations: $(FRAMEWORKS)/made  ## Install the frameworks beside, and train small models with each
	$(FRAMEWORKS)/bin/pytest tests/integrations

bench: $(VENV)/made  ## Measure side by side with cp, BLAKE3, DVC and BentoML (SIZE=bytes, ROUNDS=n)
	$(BIN)/python -m bench

docs: $(VENV)/made  ## Write docs/reference from the code
	$(BIN)/python tests/reference.py

clean:  ## Remove what make made
	-chmod -R u+w .demo .bench 2>/dev/null
	rm -rf $(VENV) $(FRAMEWORKS) .demo .bench dist

$(FRAMEWORKS)/made: pyproject.toml tests/integrations/install.py
	$(PYTHON) -m venv $(FRAMEWORKS)
	$(FRAMEWORKS)/bin/pip install --quiet --disable-pip-version-check --editable . 'pytest>=8.4'
	$(FRAMEWORKS)/bin/python tests/integrations/install.py
	touch $@

$(VENV)/made: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mvs needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
