# Everything a user or a contributor runs. `make` alone prints this list.
# Knobs: DATA_ROOT=dir, MATRIX=quick, STORE=runs, SITE=site, WORKERS=2, SEED=0, KILLS=20, PYTHON=python3.12

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install lint type test fuzz faults scale docs smoke benchmark leaderboard site site-published published

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
MATRIX ?= quick
STORE ?= runs
SITE ?= site
WORKERS ?= 2
SEED ?= 0
KILLS ?= 20
PYTHON ?= $(shell for python in python3 python3.12 python3.11; do \
  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$python && break; done)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest

help:  ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1@\2/' | column -t -s @

install: $(INSTALLED)  ## create .venv and install Osteomark in it, for the GPU or for the CPU
	@echo "Osteomark is installed in $(VENV)."

lint: $(INSTALLED)  ## check style, formatting, import arrows and the measured size of functions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(PYTEST) -q tests/test_style.py

type: $(INSTALLED)  ## check types with mypy --strict
	$(BIN)/mypy

test: $(INSTALLED)  ## run the whole test suite, doctests included
	$(PYTEST) -n $(WORKERS) --dist worksteal

docs: $(INSTALLED)  ## build the documentation in docs/_build/html, warnings are errors
	rm -rf docs/api docs/_build
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -W --keep-going -q -j auto -b html docs docs/_build/html

fuzz: $(INSTALLED)  ## feed damaged files to every parser for 60 s each
	FUZZ_SECONDS=60 $(PYTEST) -q tests/fuzz

scale: $(INSTALLED)  ## measure scheduling, listing and leaderboards on 3,000 drawn cells (half an hour)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.scale.measure

faults: $(INSTALLED)  ## kill a matrix of 20 cells at random moments, damage files, compare the results [SEED=0] [KILLS=20]
	FAULT_SEED=$(SEED) FAULT_KILLS=$(KILLS) FAULT_CELLS=20 $(PYTEST) -q -s tests/faults

smoke: $(INSTALLED)  ## train every method for one epoch on a few phantoms
	store=$$(mktemp -d); trap 'rm -rf "$$store"' EXIT; $(BIN)/osteomark run --matrix smoke --store "$$store"

benchmark: $(INSTALLED)  ## train a matrix and print its leaderboards [DATA_ROOT=dir] [MATRIX=quick]
	$(BIN)/osteomark run --matrix $(MATRIX) $(if $(DATA_ROOT),--data-root "$(DATA_ROOT)") --store "$(STORE)"

leaderboard: $(INSTALLED)  ## rebuild the leaderboards from the finished runs [STORE=runs]
	$(BIN)/osteomark leaderboard --store "$(STORE)"

site: $(INSTALLED)  ## write the static site of the finished runs [STORE=runs] [SITE=site] [DATA_ROOT=dir for thumbnails]
	$(BIN)/osteomark score --store "$(STORE)"
	$(BIN)/osteomark site --store "$(STORE)" --out "$(SITE)" $(if $(DATA_ROOT),--data-root "$(DATA_ROOT)")

site-published: $(INSTALLED)  ## write the static site of the published results, without a store or a film [SITE=site]
	$(BIN)/osteomark site --published --out "$(SITE)"

published: $(INSTALLED)  ## write the published pages again from their own data, after a change of what pages say
	$(BIN)/python -c 'from leaderboards import PUBLISHED; from leaderboards.build import rewrite_published; from leaderboards.robustness.page import write_stress; rewrite_published(PUBLISHED); write_stress(PUBLISHED, PUBLISHED)'

$(INSTALLED): pyproject.toml requirements/cpu.txt requirements/osteomark_torchvision.py requirements/osteomark_torchvision.pth
	@bash requirements/install.sh "$(VENV)" "$(PYTHON)"
	@touch $@
