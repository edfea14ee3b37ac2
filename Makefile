# `make demo` and `make test` are all a fresh machine needs: Python 3.10 to 3.13 and make.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
STAMP   = $(VENV)/installed

.PHONY: demo test loopback rabbitmq lint types check wheel clean

demo: $(STAMP)  ## simulate a run, score it, show verdicts against the truth, write demo/report.html
	$(BIN)/mhfd demo --out demo

test: $(STAMP) rabbitmq  ## all tests, on all cores
	$(BIN)/python -m pytest -n auto --dist loadfile

loopback: $(STAMP) rabbitmq  ## Globus Compute's services on this machine, to try `--endpoint loopback`
	PYTHONPATH=tests $(BIN)/python -m loopback

rabbitmq:  # installed where that is possible; where not, the tests that need it are skipped
	@command -v rabbitmq-server >/dev/null || test -x /usr/lib/rabbitmq/bin/rabbitmq-server || \
	{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq rabbitmq-server >/dev/null; } || \
	echo "RabbitMQ is not installed: the tests over the loopback will be skipped"

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
