# Needs Python 3.11+ and make; everything else goes into .venv.
PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3 python,$(shell $(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)) python3)
ARGS ?=
CORES := $(shell $(PYTHON) -c "import os; print(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1)")
JOBS ?= $(shell expr $(CORES) + 1)
BIN := .venv/bin
CODE := src tests scripts $(wildcard benchmarks examples)

.DEFAULT_GOAL := help
.PHONY: help setup dev run test tests coverage check bench soak lock clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## make .venv with what running needs
	@$(PYTHON) scripts/bootstrap.py run

dev:  ## make .venv with what testing needs
	@$(PYTHON) scripts/bootstrap.py dev

run: setup  ## watch the market: backend on 8000, dashboard on 8501; flags: ARGS="--symbols BTCUSDT"
	@$(BIN)/pairscope run $(ARGS)

check: dev  ## format, lint, types, import contracts
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

test tests coverage: export OPENBLAS_NUM_THREADS ?= 1
test: dev  ## everything that must hold, in parallel
	@$(MAKE) --no-print-directory -j2 check tests
	@$(BIN)/python -m pytest -n $(CORES) --dist loadfile -m browser $(ARGS) || [ $$? -eq 5 ]  # its driver owns the event loop

tests: dev  ## the tests without a browser; one worker more than cores, as some wait for processes and sockets
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m "not browser" $(ARGS)

coverage: dev  ## which lines the tests run; a third slower than the tests alone
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m "not browser" --cov --cov-report= $(ARGS)
	@$(BIN)/coverage report --skip-covered

bench: dev  ## our figures beside the peers', parity first
	@$(BIN)/python -m benchmarks $(ARGS)

soak: dev  ## minutes of load: memory, handles and losses stay flat
	@$(BIN)/python -m benchmarks.soak $(ARGS)

lock: setup  ## rewrite the locks from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --extra server pyproject.toml scripts/build.in -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:  ## remove what was made (not the data)
	@rm -rf .venv .venv-clients .venv-vectorbt .venv-clients.lock .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* htmlcov build src/*.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
