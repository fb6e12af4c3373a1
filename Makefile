# Everything runs in .venv, which the first call makes. `make help` lists the verbs.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --quiet --constraint constraints.txt \
    --no-compile --editable
# pip compiles one file after the other. Files that this Python cannot compile, or warns of, are some libraries' own affair.
COMPILE := $(BIN)/python -W ignore -m compileall -q -q -j $(JOBS) $(VENV)/lib || true
WHICH := import sys; print(sys.implementation.cache_tag, "in", sys.base_prefix)
LARGEST := 1048576

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help book test reproduce lab lint format clean browser same-python

help:  ## list the verbs
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST)

book: $(VENV)/installed-base  ## build the book into _build/html (JOBS=2 notebooks at once)
	$(BIN)/python -m book.build --jobs $(JOBS)

# One thread a process: the tests run in JOBS processes, and sums in one order give equal numbers.
test: export OMP_NUM_THREADS = 1
test:  ## run the tests (ARGS="--slow tests/models" passes options to pytest)
	@$(MAKE) --silent --no-print-directory --jobs 2 $(VENV)/installed-base browser  # both wait for downloads
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile $(ARGS)

reproduce: $(VENV)/installed-base  ## do the runs of committed records again (ARGS="--sample 5" or names of experiments)
	$(BIN)/fer-core reproduce $(ARGS)

lab: $(VENV)/installed-lab  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --notebook-dir notebooks

lint: $(VENV)/installed-lint  ## check style, types, notebooks and file sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/nbstripout --verify notebooks/*.ipynb
	@large=$$(git ls-files -z --cached --others --exclude-standard -- . ':!fer_core/embedded' | \
	    xargs -0 -I{} find {} -maxdepth 0 -type f -size +$(LARGEST)c); \
	if [ -n "$$large" ]; then echo "lint: expected files of at most 1 MB, got:" $$large >&2; exit 1; fi

format: $(VENV)/installed-lint  ## mend style where a tool can, and strip notebooks
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/nbstripout notebooks/*.ipynb

clean:  ## remove what was built, and .venv
	rm -rf $(VENV) _build book/_generated book/api book/assets/live book/assets/vendor book/extra book/node_modules
	rm -rf book/notebooks
	rm -rf .pytest_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written last, so an interrupted installation is taken up again.
$(VENV)/installed-base: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the project and its tested versions into $(VENV) (some minutes, once)"
	$(INSTALL) '.[book,test]'
	@$(COMPILE)
	@touch $@

$(VENV)/installed-%: $(VENV)/installed-base
	$(INSTALL) '.[$*]'
	@$(COMPILE)
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
	    { echo "make: expected Python 3.11 or newer, found no $(PYTHON); name one: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "make: expected Python 3.11 or newer, got $$($(PYTHON) -V 2>&1); name one: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "make: expected Python's venv module, got none; install it (Debian: apt-get install python3-venv)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# A PYTHON that is asked for once .venv is there would be ignored without a word.
ifeq ($(origin PYTHON),command line)
$(VENV)/installed-base: | same-python
endif
same-python: | $(BIN)/python
	@made=$$($(BIN)/python -c '$(WHICH)'); asked=$$($(PYTHON) -c '$(WHICH)' 2>/dev/null || echo none); \
	if [ "$$made" != "$$asked" ]; then \
	    echo "make: expected the Python that made $(VENV) ($$made), got $(PYTHON) ($$asked);" \
	        "leave PYTHON out, or remove what is built with \`make clean\` first" >&2; exit 2; \
	fi

# The browser tests skip, and say so, where this finds no browser and may not install one.
browser:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
	        command -v $$name >/dev/null && exit 0; \
	    done; \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        echo "installing Debian's chromium for the browser tests"; \
	        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
	            >/dev/null || echo "chromium could not be installed: the browser tests skip" >&2; \
	    fi
