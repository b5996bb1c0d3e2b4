# On a fresh machine, `make demo` alone sets up and runs the main job, and `make test` alone sets up and tests.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.installed
CONSTRAINTS ?= constraints.txt
export HF_HUB_OFFLINE ?= 1
# Two processes; what a file's tests share is made once.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: demo test slow check bench golden clean

demo: $(SETUP)
	$(BIN)/w2s run demo

test: $(SETUP)
	$(PYTEST)

slow: $(SETUP)
	$(PYTEST) -m slow

check: $(SETUP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py

bench: $(SETUP)
	$(BIN)/python bench/all.py

golden: $(SETUP)
	$(BIN)/python -m tests.golden

$(SETUP): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[dev,weights]"
	touch $(SETUP)

clean:
	rm -rf .venv .w2s build *.egg-info
