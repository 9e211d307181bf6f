# `make demo` and `make test` each work from an empty clone, in either order. Everything stays inside the checkout.
SHELL := /bin/bash
.DELETE_ON_ERROR:

# The first interpreter that is new enough; override with `make PYTHON=/path/to/python3.12`.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
GYMNASIUM_LATEST := 1.4.0

# Compiled kernels are shared by all recipes. numba watches only the file of the outer function, not the files it
# inlines from, so the folder is named after the contents of everything that is compiled.
export NUMBA_CACHE_DIR := $(CURDIR)/.cache/numba/$(shell grep -rl --include='*.py' numba envs | LC_ALL=C sort | \
  xargs cat | cksum | cut -d' ' -f1)
export OMP_NUM_THREADS := 1
export RAY_AUTH_MODE := disabled
export RAY_USAGE_STATS_ENABLED := 0

VENV := .venv
VENV_LATEST := .venv-latest
PYTEST_ARGS ?=
# Worker processes of the default suite; one file stays in one process.
JOBS ?= 2

.PHONY: help setup demo test test-slow test-latest lint bench docs clean
help:
	@echo "targets: setup demo test test-slow test-latest lint bench docs clean"

setup: $(VENV)/.installed
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Edgewise needs Python 3.11 or newer; none was found (make PYTHON=/path/to/python3)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@

demo: setup
	$(VENV)/bin/edgewise train aoi_offload/demo --out runs/demo --overwrite
	$(VENV)/bin/edgewise evaluate runs/demo
	@echo "Report: $(CURDIR)/runs/demo/report.html"

test: setup
	$(VENV)/bin/pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

test-slow: setup
	$(VENV)/bin/pytest -m slow --timeout 3600 $(PYTEST_ARGS)

# The same suite without Ray, on the newest Gymnasium.
test-latest: $(VENV_LATEST)/.installed
	$(VENV_LATEST)/bin/pytest -n $(JOBS) --dist loadfile -m "not slow and not ray" $(PYTEST_ARGS)

$(VENV_LATEST)/.installed: pyproject.toml constraints.txt Makefile
	@test -n "$(PYTHON)" || { echo "Edgewise needs Python 3.11 or newer; none was found (make PYTHON=/path/to/python3)"; exit 1; }
	$(PYTHON) -m venv $(VENV_LATEST)
	sed 's/^gymnasium==.*/gymnasium==$(GYMNASIUM_LATEST)/' constraints.txt > $(VENV_LATEST)/constraints.txt
	$(VENV_LATEST)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c $(VENV_LATEST)/constraints.txt -e '.[sb3,eval,render,cli,dev]'
	@touch $@

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

bench: setup
	$(VENV)/bin/edgewise bench

docs: setup
	$(VENV)/bin/python docs/build.py

clean:
	rm -rf $(VENV) $(VENV_LATEST) .cache build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
