# The commands of this project. `make demo` and `make test` set up whatever they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VENDOR := src/everline/app/static/vendor

.PHONY: demo lab test faults check format bench clean lock peers charts screenshots

demo: $(VENV)/.runtime charts  ## Start one node on the embedded engine, play a sample of real traffic, go on listening.
	@exec $(BIN)/everline up --demo

lab: $(VENV)/.runtime charts  ## Start a whole cluster on this machine, as root: two regions and a witness, real engines.
	@bash scripts/install-peers.sh lab
	@$$([ "$$(id -u)" -eq 0 ] || echo sudo) $(BIN)/everline lab up

test: $(VENV)/.dev peers $(VENDOR)/.fetched  ## Run every test; installs the programs that the tests drive (SIPp, Kamailio, …) where it may.
	@$(BIN)/python -m pytest

faults: $(VENV)/.dev peers  ## Break a whole lab under load, fault by fault; as root, on a machine with nothing else to do.
	@$(BIN)/python -m pytest -s tests/faults

peers:  ## Install the programs that tests drive.
	@bash scripts/install-peers.sh

check: $(VENV)/.dev  ## Lint, formatting and types.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.dev  ## Put the code into shape.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.runtime  ## The figures of docs/performance.md, on this machine.
	@$(BIN)/everline bench decode
	@$(BIN)/everline bench ingest
	@$(BIN)/everline bench balance
	@$(BIN)/everline bench app

screenshots: $(VENV)/.dev $(VENDOR)/.fetched  ## Take the pictures of docs/images/pages again; needs Chromium.
	@$(BIN)/python -m scripts.screenshots

charts:  ## Fetch the library that draws charts; without npm, or a way to its registry, pages say the same in tables.
	@$(MAKE) -s $(VENDOR)/.fetched || echo "Pages go without charts: the library that draws them was not fetched."

lock: $(VENV)/.dev  ## Pin the newest versions that pyproject.toml and package.json allow; needs uv and npm.
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --upgrade pyproject.toml --group build -o requirements.lock
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --upgrade pyproject.toml --group dev -o requirements-dev.lock
	@npm update --package-lock-only --ignore-scripts --no-audit --no-fund

clean:  ## Remove the virtual environment, the demo's data and caches.
	rm -rf $(VENV) node_modules $(VENDOR) var .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@bash scripts/make-venv.sh $(PYTHON) $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing Everline and its locked dependencies into $(VENV) …"
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing what tests and checks need …"
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

$(VENDOR)/.fetched: package-lock.json package.json
	@echo "Fetching what pages are drawn with …"
	@sh scripts/fetch-front-end.sh $(VENDOR)
	@touch $@
