# `make demo` and `make test` are all a fresh machine needs: Python 3.10 to 3.14 and make.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
STAMP   = $(VENV)/installed
DEMO   ?= .venv-demo

.PHONY: demo test lock newest fuzz soak loopback notebooks docs services lint types check wheel clean

demo: $(DEMO)/installed  ## simulate a run, score it, show verdicts against the truth, write demo/report.html
	$(DEMO)/bin/mhfd demo --out demo --tile-px 256

test: $(STAMP) services  ## all tests, on all cores; half an hour on two
	$(BIN)/python -m pytest -n auto --dist loadfile

lock:  ## exact versions of a client's packages, with hashes: deploy/locks/client.txt; needs the network
	.ci/locks write

newest: services  ## our parts of Globus on the newest SDK, endpoint and Parsl, in an environment of their own
	.ci/newest

fuzz: $(STAMP)  ## damaged images, names, tasks and configurations: MHFD_FUZZ examples each, new ones every time
	MHFD_FUZZ=$${MHFD_FUZZ:-5000} $(BIN)/python -m pytest -n auto tests/fuzz

soak: $(STAMP) services  ## watch 10^4 tiles while everything is killed, 20 times over; about 40 minutes
	$(BIN)/python benchmarks/soak.py

loopback: $(STAMP) services  ## Globus Compute's services on this machine, to try `--endpoint loopback`
	PYTHONPATH=tests $(BIN)/python -m loopback

notebooks: $(STAMP) services  ## execute the notebooks of examples/, and keep what comes out
	KEEP_NOTEBOOKS=1 $(BIN)/python -m pytest tests/examples tests/loopback/test_commands.py -k "notebook"

docs: $(STAMP)  ## the pages as a site, in build/docs; a link that leads nowhere is an error
	$(BIN)/python -m sphinx --fail-on-warning --fresh-env --keep-going --nitpicky --quiet --conf-dir docs . build/docs

services:  # installed where possible; elsewhere the tests that need them are skipped
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
	rm -rf $(VENV) $(DEMO) dist demo

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --editable ".[dev]"
	touch $@

# Not `cpu`: compiling the kernel with numba takes longer than the demo without. No .pyc files but those that are used.
$(DEMO)/installed: pyproject.toml
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --disable-pip-version-check --no-compile --editable ".[demo]"
	touch $@
