# make run: see it work. make test: run the tests. make help: the rest.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The folders of the three distributions: device-api, mock-issuer, device-app.
DISTRIBUTIONS := . mock_issuer device_app
METADATA := pyproject.toml mock_issuer/pyproject.toml device_app/pyproject.toml

# Not those whose schemas the validator lacks, because Kubernetes does not define them; tests/deploy checks these.
MANIFESTS := $(filter-out %/kustomization.yaml %/service-monitor.yaml,$(wildcard deploy/kubernetes/*/*.yaml deploy/kubernetes/*/*/*.yaml))

# Compiled modules are kept: the tests start hundreds of processes, and an image may turn this off.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help venv run test test-all test-compose coverage mutants lint bench bench-serve peers scale sbom licences pictures dist lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

venv: $(READY)  ## install into .venv what the other targets need; they do it too

run: $(READY)  ## start the mock issuer and the API, and print what to try (Ctrl-C ends both)
	@$(BIN)/python demo.py

test: $(READY)  ## run the tests, except the slow ones (pass options with ARGS="-k keys")
	@$(BIN)/pytest -m "not slow" $(ARGS)

# loadfile: a file's tests run on one worker and share what they set up, such as images and wheels. Status 5: no test was selected, which is right where ARGS names a folder without slow tests.
test-all: $(READY)  ## run the slow tests, which make test leaves out (ARGS as above)
	@$(BIN)/pytest -m slow --dist loadfile --ignore tests/compose $(ARGS) || [ $$? -eq 5 ]

# Not among the slow tests: it takes minutes, and the ports 8080, 9000 and 9090 of this machine.
test-compose: $(READY)  ## run the services of compose.yaml with podman, and test them (as root; ARGS as above)
	@$(BIN)/pytest -n 0 tests/compose $(ARGS)

coverage: $(READY)  ## run all tests and report which lines and branches they reach (ARGS as above)
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest --ignore tests/compose $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

mutants: $(READY)  ## change the code that decides about trust, and list what no test notices (ARGS="api/auth", JOBS=4)
	@$(BIN)/python -m tests.mutants.run $(ARGS)

lint: $(READY)  ## check style, types and import rules, the Dockerfile and the manifests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python tests/typing/check_copy.py
	@$(BIN)/lint-imports
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/kubernetes-validate --strict --quiet $(MANIFESTS)

bench: $(READY)  ## measure against peers and floors, as ratios
	@$(BIN)/python -m benchmarks

bench-serve: $(READY)  ## measure the servers' CPU time per request against peers (needs wrk and node; ARGS=--instructions: valgrind)
	@$(BIN)/python -m benchmarks.serve $(ARGS)

peers: $(READY)  ## install known stacks, run mock-issuer check on each, write docs/peers.md (ARGS="jose pyjwt" for some, ARGS=--dpop for DPoP alone)
	@$(BIN)/python -m benchmarks.peers $(ARGS)

scale: $(READY)  ## simulate 1,000 processes at an issuer, and measure PostgreSQL and Redis, for docs/scale.md
	@$(BIN)/python -m benchmarks.scale
	@$(BIN)/python -m benchmarks.storage

sbom: $(READY)  ## write what each image holds into build/sbom/, as CycloneDX
	@$(BIN)/python -m deploy.sbom.bill build/sbom

licences: $(READY)  ## write the table of docs/licences.md
	@$(BIN)/python -m deploy.sbom.licences

pictures: $(READY)  ## make the README's pictures from the running programs (needs Chromium and tmux)
	@$(BIN)/python -m docs.pictures.make

# Each wheel is built from its sdist, so that the sdist is complete and no older build is in the wheel; sdists take file
# lists from older metadata. -P: the current folder is a package's, whose modules must not be imported as top-level ones.
dist: $(READY)  ## build the wheels and sdists of device-api, mock-issuer and device-app into dist/
	@rm -rf dist $(addsuffix /*.egg-info,$(DISTRIBUTIONS))
	@for folder in $(DISTRIBUTIONS); do \
	  (cd "$$folder" && "$(abspath $(BIN))/python" -P -c 'from sys import argv; from setuptools.build_meta import build_sdist; build_sdist(argv[1])' "$(CURDIR)/dist" >/dev/null) || exit 1; \
	done
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-cache-dir --no-deps --no-build-isolation --no-index --wheel-dir dist dist/*.tar.gz
	@ls dist

lock:  ## pin the newest allowed versions with hashes (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: install it with 'pip install uv'." >&2; exit 1; }
	@for file in "run pyproject.toml" "run-tracing pyproject.toml --extra tracing" "mock-issuer mock_issuer/pyproject.toml" "dev $(METADATA) --all-extras"; do \
	  set -- $$file; name=$$1; shift; \
	  uv pip compile "$$@" --upgrade --universal --python-version 3.11 --generate-hashes --quiet \
	    --no-emit-index-url --custom-compile-command "make lock" --output-file requirements/$$name.txt || exit 1; done

clean:  ## remove what the other targets made
	@rm -rf $(VENV) build dist $(addsuffix /*.egg-info,$(DISTRIBUTIONS)) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* device-api.db*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One set-up for all targets; it runs again only when the pins or the metadata change.
$(READY): requirements/dev.txt $(METADATA)
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Python 3.11 or newer with its venv module is needed and was not found; install it, or name one: make PYTHON=/path/to/python3." >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$found" --version), once…"; \
	"$$found" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index $(addprefix --editable ,$(DISTRIBUTIONS))
	@touch $(READY)
