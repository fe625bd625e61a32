# Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Two threads each in two processes on two cores crawl: tests and workers set their own number.
export OMP_NUM_THREADS ?= 1
# Tests start the command a few hundred times: let the first one keep what it compiled.
unexport PYTHONDONTWRITEBYTECODE

DEBIAN := postgresql slurm-wlm munge

.PHONY: help demo services test test-slow gpu chaos check docs readme-numbers format clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("pgsbench needs Python >= 3.11: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[test,dev]'
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

demo: $(VENV)/installed  ## the whole loop on the generated scenes: data, training, evaluation, report
	unset OMP_NUM_THREADS; $(BIN)/pgsbench sweep studies/ratio.yaml

services:  ## PostgreSQL and SLURM for the tests that want the real ones (root, on Debian; else they are skipped)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		export DEBIAN_FRONTEND=noninteractive; apt-get install -y -qq $(DEBIAN) >/dev/null 2>&1 \
		|| { apt-get update -qq && apt-get install -y -qq $(DEBIAN) >/dev/null; } \
		|| echo "these could not be installed, and their tests are skipped: $(DEBIAN)"; \
	else echo "needs root and apt-get; the tests of $(DEBIAN) are skipped where they are missing"; fi

test: $(VENV)/installed-dev  ## the quick tests
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/installed-dev  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

gpu: $(VENV)/installed-dev  ## what only a GPU can show: the cost of masks and of steps on it, and its tests
	$(BIN)/python -m benchmarks.masks --model ViT-B-16 --batch-size 512 --device cuda
	$(BIN)/python -m benchmarks.train --model ViT-B-16 --batch-size 512 --device cuda
	$(BIN)/python -m pytest -m gpu tests/gpu

SCHEDULES ?= 200
SERVERS ?= 20
REAL ?= 10
TOGETHER ?= 20
SEED ?= 0
chaos: $(VENV)/installed-dev  ## a campaign of faults; it says how to replay a schedule that failed
	PYTHONPATH=tests:tests/execution $(BIN)/python tests/execution/chaos.py \
		--schedules $(SCHEDULES) --servers $(SERVERS) --real $(REAL) --together $(TOGETHER) --seed $(SEED) \
		$(if $(ONLY),--only $(ONLY)) $(if $(RESULTS),--results $(RESULTS))

check: $(VENV)/installed-dev  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/installed-docs  ## the documentation as a site, in site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

readme-numbers: $(VENV)/installed  ## fill the marked numbers of the README from the committed reports
	$(BIN)/python .ci/readme_numbers.py

format: $(VENV)/installed-dev  ## rewrite the files as `check` wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove the environment and caches; runs and reports stay
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
