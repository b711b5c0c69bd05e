# `make demo` and `make test` need Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV := .venv
BETZ := $(VENV)/bin/betz
READY := $(VENV)/.ready

.PHONY: venv demo test lint lock catalogue clean

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

# The words of the report (analysis/words.py): what is new stands in the .po without a translation, until somebody writes one.
LOCALE := config/locale
# `pybabel compile` takes the sign in "90 % of it" for a placeholder of C.
define COMPILE
import sys
from babel.messages import mofile, pofile
with open(sys.argv[1], "rb") as po, open(sys.argv[2], "wb") as mo:
    mofile.write_mo(mo, pofile.read_po(po))
endef
export COMPILE
catalogue: venv
	@$(VENV)/bin/pybabel --quiet extract --no-default-keywords -k say:1 -k joined:2 -k Concept:3 -k Code:3 --no-location --omit-header --sort-output --no-wrap --output-file $(LOCALE)/betz.pot analysis node
	@$(VENV)/bin/pybabel --quiet update --domain betz --input-file $(LOCALE)/betz.pot --output-dir $(LOCALE) --no-fuzzy-matching --ignore-obsolete --no-wrap --ignore-pot-creation-date
	@for po in $(LOCALE)/*/LC_MESSAGES/betz.po; do $(VENV)/bin/python -c "$$COMPILE" "$$po" "$${po%.po}.mo"; done

clean:
	rm -rf $(VENV)
