# Everything installs into .venv; only python3 (3.11 or later) and make are needed.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.DEFAULT_GOAL := help
.PHONY: help install demo test check chaos stalls bench scale lock clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

install: $(STAMP) ## install everything into .venv

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; set PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## run the whole system for a short while and account for it (DEMO_SECONDS=0: until Ctrl-C)
	$(BIN)/hookfold demo

# Acceptance waits most of its time, so that two of it share a machine; the others want it for themselves.
test: check ## check, then every test, against a real Kafka
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/acceptance
	$(BIN)/python -m pytest tests/integration tests/chaos

check: $(STAMP) ## format, lint, strict types, import layers, docs
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/check

chaos: $(STAMP) ## kills, zombies and restarts by a seeded schedule (MINUTES=2 SEED=1), and the checker's account
	MINUTES=$(or $(MINUTES),2) SEED=$(or $(SEED),1) $(BIN)/python -m tests.chaos

stalls: $(STAMP) ## the longest wait of an event while processes come, go and crash
	$(BIN)/python -m tests.bench.stalls

bench: $(STAMP) ## measure, and verify what was measured (SCENARIO=saturated, replay, …: one of them)
	$(BIN)/python -m tests.bench $(SCENARIO)

scale: $(STAMP) ## measure as endpoints, retries and partitions grow to a million and 64 (PART=endpoints, retries, idle: one of them)
	$(BIN)/python -m tests.bench.scale $(PART)

lock: $(STAMP) ## pin the newest versions that pyproject.toml allows
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command 'make lock' --extra dev --upgrade --output-file requirements.txt pyproject.toml

clean: ## remove .venv and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
