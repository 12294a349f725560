# Every target works on a fresh clone: each makes the virtual environment it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TPU_VENV := .venv-tpu-plan
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.dev-ready
DOCS_READY := $(VENV)/.docs-ready

.PHONY: run test test-slow check docs format bench bench-compare bench-tpu-plan clean

run: $(READY)
	$(BIN)/python -m experiments.run train digits

test: $(DEV_READY)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-slow: $(DEV_READY) $(DOCS_READY)
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist loadfile $(PYTEST)

check: $(DEV_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

docs: $(DOCS_READY)
	$(BIN)/mkdocs build --strict

format: $(DEV_READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV_READY)
	$(BIN)/python -m benchmarks.run --json runs/bench

bench-compare: $(DEV_READY)
	$(BIN)/python -m benchmarks.compare runs/bench

# In an environment of its own: where libtpu is installed, JAX looks for a TPU at every start.
bench-tpu-plan:
	test -x $(TPU_VENV)/bin/python || $(PYTHON) -m venv $(TPU_VENV)
	$(TPU_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[tpu-plan]'
	$(TPU_VENV)/bin/python -m benchmarks.tpu_plan

clean:
	rm -rf $(VENV) $(TPU_VENV) .jax_cache .pytest_cache .ruff_cache build dist site

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[experiments]'
	touch $@

$(DEV_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@
