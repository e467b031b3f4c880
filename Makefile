# `make book` and `make test` need nothing but Python 3.11 or newer. README.md has the same steps without make.

PYTHON ?= python3
# Where the environment is made.
VENV ?= .venv
# Tests run in this many processes.
WORKERS ?= 2

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RELEASE_REPORT := benchmarks/release_results.md

.DEFAULT_GOAL := help
.PHONY: help book test test-release workshop lab clean

help:
	@echo "make book          execute the chapters and build the site into _build/html"
	@echo "make test          run every test but the long ones (builds the site first)"
	@echo "make test-release  run the long tests and write $(RELEASE_REPORT)"
	@echo "make workshop      build what a teacher hands out into dist/ (builds the site first; needs Chromium or Chrome)"
	@echo "make lab           open the chapters in JupyterLab"
	@echo "make clean         remove the site, the execution cache, dist/ and the environment $(VENV)"

# The environment: made once, and again whenever what it holds has changed.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'The course needs Python 3.11 or newer and $(PYTHON) is ' + sys.version.split()[0] + '. Name another one: make PYTHON=python3.12')"
	@$(PYTHON) -c "import venv, ensurepip" || { echo "Python's venv module is missing. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --disable-pip-version-check -r requirements.txt
	"$(BIN)/python" -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch "$@"

# Two chapters run at a time, into a cache from which the build takes their outputs; book/_assets/sphinx_ext says what
# the cache depends on, and what has not changed is not run again.
book: $(INSTALLED)
	"$(BIN)/python" -m tools.execute
	"$(BIN)/jupyter-book" build -W -n --keep-going .
	@echo "The book is ready. Open this file in a browser: $(CURDIR)/_build/html/index.html"

# --dist loadfile keeps the cells of one notebook together.
test: book
	"$(BIN)/python" -m pytest -n $(WORKERS) --dist loadfile

test-release: book
	"$(BIN)/python" -m pytest -m release --release-report=$(RELEASE_REPORT) --timeout 3600

workshop: book
	"$(BIN)/python" -m course_utils workshop

lab: $(INSTALLED)
	"$(BIN)/jupyter" lab --notebook-dir book

clean:
	rm -rf _build dist "$(VENV)" *.egg-info
