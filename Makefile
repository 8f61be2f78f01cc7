# make demo and make test need nothing but Python 3.11 or later; both set up the environment first.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: setup demo test test-slow test-gpu fuzz faults check format map reference docs changelog

# Compiled on all cores, which pip does not; some packages bring templates that cannot be compiled.
.venv/installed: pyproject.toml constraints.txt
	@echo "installing genprior and what it needs into .venv; this takes a minute or two"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e .
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	@touch .venv/installed

setup: .venv/ready

.venv/ready: .venv/installed
	@echo "installing what the tests and checks need into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch .venv/ready

demo: .venv/installed
	$(BIN)/genprior train recipes/table3_ablation.toml --with demo

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: setup
	$(BIN)/python -m pytest -m slow

test-gpu: setup
	$(BIN)/python -m pytest -m gpu

# Random inputs for MINUTES; inputs that fail are written into the folder fuzz-failures.
fuzz: MINUTES ?= 10
fuzz: setup
	MINUTES=$(MINUTES) $(BIN)/python -m pytest -q -n 0 -s -m fuzz tests/fuzz

# Injected faults for at most MINUTES; the numbers are written to faults.json, and from there into docs/reliability.md.
faults: MINUTES ?= 14
faults: setup
	MINUTES=$(MINUTES) FAULTS_OUT=faults.json $(BIN)/python -m pytest -q -n 0 -s -m faults tests/faults/injection

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd benchmarks/gpu && ../../$(BIN)/mypy --config-file ../../pyproject.toml *.py
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --dist worksteal

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

map: setup
	$(BIN)/python docs/draw_architecture.py

# Moves the fragments of changelog/ into CHANGELOG.md, under the heading of a version and today's date.
changelog: setup
	@test -n "$(VERSION)" || { echo "which version? make changelog VERSION=0.2.0"; exit 2; }
	$(BIN)/towncrier build --yes --version $(VERSION)

reference: setup
	$(BIN)/python docs/write_recipe_reference.py
	$(BIN)/python docs/site/write_llms.py

# The site, in build/site. Once the packages of the extra `docs` are there, it needs no network.
docs: setup
	@$(BIN)/python -c "import material, mkdocs, mkdocstrings, nbclient" 2> /dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict -f docs/site/mkdocs.yml
