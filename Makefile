# Every target sets up what it needs. A fresh machine needs Python 3.11 or newer and make; the tests need Node and npm too.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
  "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)

BIN  := .venv/bin
UV   := .tools/bin/uv
NODE := tests/interop/node
PYTEST := $(BIN)/python -m pytest
CHROMIUM := /usr/bin/chromium

# uv never fetches an interpreter, reads no settings of the machine, and copies where it cannot link.
export UV_PYTHON_DOWNLOADS := never
export UV_NO_CONFIG := 1
export UV_LINK_MODE := copy

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run tour test check format bench fuzz mutants threats manual pictures lock clean

help:
	@echo 'make setup     .venv and the foreign client of the tests, from the lock files'
	@echo 'make run       the demo: a guarded exchange, its tour, and then its server'
	@echo 'make tour      the tour alone: exits 0 only if each step came out as it should'
	@echo 'make test      all tests in parallel, with the branch coverage that pyproject.toml asks for'
	@echo 'make check     format, lint, types, import contracts, house tests'
	@echo 'make format    rewrite what format and lint can mend'
	@echo 'make bench     the measurements, beside their peers and floors'
	@echo 'make fuzz      the property tests, each with many examples'
	@echo 'make mutants   200 small damages to the protocol and the stages; the tests must notice each'
	@echo 'make threats   write THREATS.md again from the stories'
	@echo 'make manual    write the tables of docs/operating.md again from the settings'
	@echo 'make pictures  take the pictures of the pages again, in the browser of the tests'
	@echo 'make lock      resolve the dependencies again and write the lock files'
	@echo 'make clean     remove what setup made'

setup: .venv/.stamp $(NODE)/node_modules/.stamp $(CHROMIUM)

run: .venv/.stamp
	$(BIN)/sealwire demo

tour: .venv/.stamp
	$(BIN)/sealwire demo --tour-only

test: setup
	$(PYTEST) -n 2 --dist loadgroup --cov --cov-report=term

check: .venv/.stamp
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -q tests/house

format: .venv/.stamp
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: .venv/.stamp
	$(BIN)/python -m bench

fuzz: .venv/.stamp
	$(PYTEST) -n 2 --hypothesis-profile=long tests/fuzz

mutants: .venv/.stamp
	$(BIN)/python tests/mutants/run.py

threats: .venv/.stamp
	$(BIN)/python tests/house/threats.py --write

manual: .venv/.stamp
	$(BIN)/python tests/house/manual.py --write

pictures: setup
	$(BIN)/python -m tests.pages.pictures

# One resolution for every platform and Python; no header, no origins, so that the files name no index (docs/decisions/0001).
lock: $(UV)
	echo 'uv>=0.13,<0.14' | $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --output-file requirements-tools.lock -
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --all-extras --group dev \
	  --no-header --no-annotate --output-file requirements.lock pyproject.toml
	cd $(NODE) && npm install --package-lock-only --ignore-scripts --silent

clean:
	rm -rf .venv .tools $(NODE)/node_modules


# --- what the targets stand on: each is made once, and again when its lock changes -----------------------------------

$(UV): requirements-tools.lock
	@test -n "$(PYTHON)" || { echo 'No Python 3.11 or newer was found; name one with make PYTHON=...' >&2; exit 1; }
	rm -rf .tools
	"$(PYTHON)" -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-tools.lock
	@touch $@

.venv/.stamp: pyproject.toml requirements.lock | $(UV)
	@test -x $(BIN)/python || $(UV) venv --quiet --clear --python .tools/bin/python .venv
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# The pages are tested in a real browser; without one the tests must not run as if there were nothing to see.
$(CHROMIUM):
	@command -v apt-get >/dev/null || { echo 'The tests need Chromium at $(CHROMIUM); install it.' >&2; exit 1; }
	$(if $(filter 0,$(shell id -u)),,sudo) sh -c 'apt-get update -q && apt-get install -y -q chromium' >/dev/null

$(NODE)/node_modules/.stamp: $(NODE)/package.json $(NODE)/package-lock.json
	@command -v npm >/dev/null || { echo 'The tests need Node 20 or newer and npm (on Debian: apt-get install npm).' >&2; exit 1; }
	cd $(NODE) && npm ci --ignore-scripts --silent
	@touch $@
