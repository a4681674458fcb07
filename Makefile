# All that is done here by hand. `make` alone lists it.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test test-fast check bench

# With this set, each import of torch and sentence-transformers takes three times as long.
unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE := 1

UV_VERSION := 0.13.9
UV := .uv/bin/uv
BIN := .venv/bin
COMPLETE := .venv/.complete
DOWNLOAD_GB := 3.2
DISK_GB := 6.1
NEEDED_GB ?= 7
PYTHONS ?= python3 python3.13 python3.12 python3.11 python3.14
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
# From the quickest to the slowest; a folder without tests is not in a clone.
TESTS := $(wildcard tests/unit tests/contract tests/integration tests/faults tests/acceptance)

help:
	@echo "make setup      make .venv with the command in it ($(DOWNLOAD_GB) GB to download, $(DISK_GB) GB on disk)"
	@echo "make demo       set up, then the whole job on this machine, nothing to configure"
	@echo "make test       set up, check, then all tests"
	@echo "make test-fast  the unit tests"
	@echo "make bench      set up, then measure; sizes and parts: make bench BENCH=--help"
	@echo "make check      style, formatting, types, and which room imports which"

setup: $(COMPLETE)

# Each step may be interrupted and is repeated or continued by the next call; the last one leaves the mark.
$(COMPLETE): requirements.lock pyproject.toml
	@python=; for name in $(PYTHONS); do \
	  if $$name -c '$(SUITABLE)' >/dev/null 2>&1; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "byov-migrate needs Python 3.11 to 3.14 with venv; none of these is one: $(PYTHONS)." >&2; \
	  echo "Install one (Debian, Ubuntu: apt install python3 python3-venv), or name it: make PYTHONS=/path/to/python3" >&2; \
	  exit 1; \
	fi; \
	free=$$(df -Pk . | awk 'NR == 2 { printf "%d", $$4 / 1048576 }'); \
	echo "Setting up .venv: about $(DOWNLOAD_GB) GB to download, $(DISK_GB) GB on disk (torch is 90 % of it). Free here: $$free GB."; \
	if [ ! -x $(BIN)/byov-migrate ] && [ "$$free" -lt "$(NEEDED_GB)" ]; then \
	  echo "That is too little. Make room, or try all the same: make setup NEEDED_GB=0" >&2; \
	  exit 1; \
	fi; \
	set -e; \
	if [ "$$($(UV) --version 2>/dev/null | cut -d ' ' -f 2)" != "$(UV_VERSION)" ]; then \
	  $$python -m venv --clear .uv; \
	  .uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); \
	fi; \
	if [ ! -f .venv/pyvenv.cfg ] || ! $(BIN)/python -c '' 2>/dev/null; then \
	  $(UV) venv --quiet --allow-existing --python "$$(command -v $$python)" .venv; \
	fi; \
	$(UV) pip install --python $(BIN)/python --require-hashes -r requirements.lock; \
	$(UV) pip install --quiet --python $(BIN)/python --no-deps -e .; \
	touch $@

demo: setup
	@$(BIN)/byov-migrate demo

test: check
	$(BIN)/pytest $(TESTS)

test-fast: setup
	$(BIN)/pytest -m "not slow" tests/unit

bench: setup
	@$(BIN)/python benchmarks/bench.py $(BENCH)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
