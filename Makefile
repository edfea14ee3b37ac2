# `make demo` and `make test` are all a fresh machine needs: Python 3.10 to 3.13 and make.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
STAMP   = $(VENV)/installed

.PHONY: demo test soak loopback services lint types check wheel clean

demo: $(STAMP)  ## simulate a run, score it, show verdicts against the truth, write demo/report.html
	$(BIN)/mhfd demo --out demo

test: $(STAMP) services  ## all tests, on all cores
	$(BIN)/python -m pytest -n auto --dist loadfile

soak: $(STAMP) services  ## watch 10^4 tiles while everything is killed, 20 times over; about 40 minutes
	$(BIN)/python benchmarks/soak.py

loopback: $(STAMP) services  ## Globus Compute's services on this machine, to try `--endpoint loopback`
	PYTHONPATH=tests $(BIN)/python -m loopback

services:  # installed where that is possible; where not, the tests that need them are skipped
	@tests/install_services

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

check: lint types test

wheel: $(STAMP)
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

clean:
	rm -rf $(VENV) dist demo

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@
