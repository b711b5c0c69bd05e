# `make demo` and `make test` need Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV := .venv
BETZ := $(VENV)/bin/betz
READY := $(VENV)/.ready

.PHONY: venv demo test lint lock clean

venv: $(READY)

$(READY): requirements.lock pyproject.toml
	@echo "Setting up $(VENV) with the locked dependencies (a few minutes the first time) ..."
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Betz needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: venv
	@$(VENV)/bin/python demo.py

test: venv
	@$(VENV)/bin/python -m pytest -n auto --dist loadscope

lint: venv
	@$(VENV)/bin/ruff check .

# Needs pip-tools; the lock names no index host.
lock:
	pip-compile --quiet --extra test --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --output-file requirements.lock pyproject.toml lock.in

clean:
	rm -rf $(VENV)
