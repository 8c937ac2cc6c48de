# Everything runs in .venv, which the first target makes from the hashed lock. Nothing else has to be installed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test quick lint faults bench docs lock wheel-check clean

demo: $(READY)  ## debate the shipped sample with the embedded default, and show the verdicts
	@BIN=$(BIN) sh scripts/demo.sh

test: $(READY)  ## all tests
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

quick: $(READY)  ## the tests that take no more than a few seconds each
	$(BIN)/python -m pytest -m "not slow"

lint: $(READY)  ## style, types, imports, security
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -c pyproject.toml -r orchestrator migrations scripts

faults: $(READY)  ## put in thousands of faults, and debate a million records for hours; write down what came of it
	rm -f build/faults.jsonl
	FAULTS=long $(BIN)/python -m pytest --numprocesses auto --dist worksteal tests/faults --ignore tests/faults/test_soak.py
	FAULTS=long $(BIN)/python -m pytest -s tests/faults/test_soak.py
	$(BIN)/python -m scripts.fault_report --take build/faults.jsonl

bench: $(READY)  ## measure what docs/explanation/performance.md says (half an hour)
	$(BIN)/python -m benchmarks.start_up
	$(BIN)/python -m benchmarks.whole_way
	$(BIN)/python -m benchmarks.two_processes
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.closed_loop
	$(BIN)/python -m benchmarks.comparison --docs

docs: $(READY)  ## write the generated parts of docs/ again
	$(BIN)/python -m scripts.generate_docs

wheel-check: $(READY)  ## build the wheel, install it elsewhere, run a debate with it
	sh scripts/wheel_check.sh $(BIN)/python

lock: $(READY)  ## resolve the dependencies again
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet -o requirements.lock

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	touch $(READY)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
