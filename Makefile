# `make demo` and `make test` from a fresh clone. An active virtual environment is used as it is;
# otherwise .venv is made. A torch that the base interpreter already has is used there.

PYTHON ?= python3
TORCH ?= torch==2.13.0

ifdef VIRTUAL_ENV
ENV := $(VIRTUAL_ENV)
STAMPS := $(VIRTUAL_ENV)/.edgebed
else
ENV := $(CURDIR)/.venv
STAMPS := $(CURDIR)/.venv/.edgebed
endif
BIN := $(ENV)/bin

.PHONY: demo test slow lint format clean

demo: $(STAMPS)/demo
	$(BIN)/edgebed demo

test: $(STAMPS)/test
	$(BIN)/python -m pytest -n 2

slow: $(STAMPS)/test
	$(BIN)/python -m pytest -m slow

lint: $(STAMPS)/test $(STAMPS)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMPS)/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One stamp an extra: the second call only looks at its date.
$(STAMPS)/demo $(STAMPS)/test $(STAMPS)/lint: $(STAMPS)/torch pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[$(notdir $@)]'
	@touch $@

$(STAMPS)/torch: $(BIN)/python
	@mkdir -p $(STAMPS)
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install --quiet '$(TORCH)'
	@touch $@

$(CURDIR)/.venv/bin/python:
	$(PYTHON) -c 'import torch' 2>/dev/null \
	  && $(PYTHON) -m venv --system-site-packages $(CURDIR)/.venv \
	  || $(PYTHON) -m venv $(CURDIR)/.venv

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
