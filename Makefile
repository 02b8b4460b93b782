# make demo and make test work on a fresh Debian or Ubuntu with git, make and CPython 3.11 to 3.13.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
# The newest supported CPython that really starts (a pyenv shim may exist and not run).
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 && { echo $$p; break; }; done)
WORKERS ?= 2

.PHONY: help install demo test lint bench soak lock clean

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/installed ## the virtual environment with the locked requirements

$(VENV)/installed: requirements.lock requirements-uv.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "No CPython 3.11 to 3.13 found. Install one (apt install python3 python3-venv) or name it: make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { echo "Could not make a virtual environment: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	@echo "Installing the locked requirements into $(VENV) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@UV_LINK_MODE=copy $(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements.lock
	@UV_LINK_MODE=copy $(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: install ## the whole loop on a real stream, then a summary; ARGS="--exit" leaves at the end
	@$(BIN)/tiltyard demo $(ARGS)

test: install lint ## every test but the long ones
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not soak" $(ARGS)

lint: install ## ruff, mypy --strict, import layers
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

bench: install ## side-by-side measurements; ARGS names one, e.g. ARGS=predict
	@for b in $(if $(ARGS),$(ARGS),$(patsubst benchmarks/%.py,%,$(filter-out benchmarks/_%,$(wildcard benchmarks/*.py)))); do $(BIN)/python -m benchmarks.$$b || exit 1; done

soak: install ## the long runs: crashes, hot reloads, the gate's slow acceptance tests
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m soak $(ARGS)

lock: ## resolve requirements.lock anew for every supported Python
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --group dev pyproject.toml -o requirements.lock
	@echo 'uv' | $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate - -o requirements-uv.lock

clean: ## remove what was installed and built
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache
