# Ringbook: everything a newcomer or a developer types. `make help` lists it.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PY     := $(BIN)/python
SOURCES := $(shell find engine bridge -name '*.pyx' -o -name '*.pxd' -o -name '*.h')

.DEFAULT_GOAL := help
.PHONY: help build demo test unit bench lint format debug wheel check-wheel clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# The environment: made anew when the dependencies change.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else 1)' \
	  || { echo "Ringbook needs Python 3.11 to 3.13; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "Setting up $(VENV) (once, about a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check 'setuptools>=77' wheel build 'cython>=3.1,<4'
	@RINGBOOK_SKIP_CORE=1 $(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[test,lint]'
	@touch $@

# The compiled core: rebuilt, only where needed, when a source changes.
$(VENV)/.built: $(VENV)/.installed setup.py $(SOURCES)
	@echo "Building the core (a minute or two the first time) ..."
	@mkdir -p build
	@$(PY) setup.py --quiet build_ext --inplace > build/build.log 2>&1 || { cat build/build.log; exit 1; }
	@touch $@

build: $(VENV)/.built  ## make the virtual environment and build the core

demo: build  ## watch a market maker trade on a simulated market (headless without a terminal)
	@$(BIN)/ringbook demo

# What fails because two daemons at once keep a machine busy has to pass on its own.
test: build  ## run every test that CI runs
	@$(PY) -m pytest -q -n 2 --dist loadfile tests/integration || $(PY) -m pytest -q --last-failed tests/integration; status=$$?; \
	  $(PY) -m pytest -q -n auto --dist loadfile --ignore tests/integration && exit $$status

unit: build  ## run the fast tests only
	@$(PY) -m pytest -q -n auto --dist loadfile tests/unit tests/tidy tests/property

bench: build  ## run the benchmarks, each beside its peer; figures go to benchmarks/RESULTS.md by hand
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(PY) $$file || exit 1; done

lint: build  ## check style and formatting
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: build  ## format the Python sources
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

debug: $(VENV)/.installed  ## build with assertions, for debugging (make build goes back)
	@RINGBOOK_DEBUG=1 $(PY) setup.py --quiet build_ext --inplace
	@rm -f $(VENV)/.built

# The wheel takes the modules that the build has made, but nothing that an earlier one left beside them.
wheel: build  ## build wheel and sdist into dist/
	@rm -rf dist && find build/lib* -type f ! -name '*.so' -delete
	@cd build/lib* && for so in $$(find . -name '*.so'); do case $$so in */_cyutility.*) ;; *) \
	  [ -f "../../$${so%%.cpython*}.pyx" ] || rm "$$so" ;; esac; done
	@for kind in sdist wheel; do \
	  $(PY) -m build --no-isolation --$$kind --outdir dist . > build/$$kind.log 2>&1 || { tail -n 30 build/$$kind.log; exit 1; }; \
	done
	@ls dist

check-wheel: wheel  ## install the wheel elsewhere and use it there
	@PYTHON=$(PYTHON) bash .ci/check-wheel dist

clean:  ## remove what was built
	@rm -rf build dist $(VENV) *.egg-info && find engine bridge -name '*.so' -delete
