# make run: see it work. make test: run the tests. make help: the rest.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help run test lint bench lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'

run: $(READY)  ## start the mock issuer and the API, and print what to try (Ctrl-C ends both)
	@$(BIN)/python demo.py

test: $(READY)  ## run all tests (pass options with ARGS="-k keys")
	@$(BIN)/pytest $(ARGS)

lint: $(READY)  ## check style, types and import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY)  ## measure against peers and floors, as ratios
	@$(BIN)/python -m benchmarks

lock:  ## pin the newest allowed versions with hashes (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: install it with 'pip install uv'." >&2; exit 1; }
	@for file in "run" "dev --all-extras"; do set -- $$file; \
	  uv pip compile pyproject.toml $$2 --upgrade --universal --python-version 3.11 --generate-hashes --quiet \
	    --no-emit-index-url --custom-compile-command "make lock" --output-file requirements/$$1.txt; done

clean:  ## remove what the other targets made
	@rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache device-api.db*

# One set-up for all targets; it runs again only when the pins or the metadata change.
$(READY): requirements/dev.txt pyproject.toml
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Python 3.11 or newer with its venv module is needed and was not found; install it, or name one: make PYTHON=/path/to/python3." >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$found" --version), once…"; \
	"$$found" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
	@touch $(READY)
