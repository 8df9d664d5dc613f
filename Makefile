# demo: three nodes on this host collect real input.  test: all tests.  check: static checks and the wheel.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEEDS ?= 300
SEED ?= 1
NODES ?= 0
SECONDS ?= 600
CAP ?= 2000
WORKERS ?= 5
CHAOS_SECONDS ?= 60
FUZZ_SECONDS ?= 60
FUZZ_UPDATES ?= 1000000

# Hundreds of processes start here: the code is compiled once, also where the environment says otherwise.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help demo test check sim sim-mutants chaos chaos-figures fuzz bench fmt lock audit

help:
	@echo "make demo   start three nodes here, collect real input through them, kill one, compare the result"
	@echo "make test   run the tests (those that need root or ../shared say so and are skipped where it is missing)"
	@echo "make check  ruff, mypy, the import rules, the wheel in an empty environment"
	@echo "make sim    SEEDS=300 SEED=1 SECONDS=600 NODES=0 (0: 5 to 7): the simulator over the code that ships"
	@echo "make sim-mutants  CAP=2000: plant each bug of the catalogue, and see the simulator find it"
	@echo "make chaos  CHAOS_SECONDS=60: real nodes under load, killed, stopped, cut off, far apart, with full disks (needs root)"
	@echo "make chaos-figures  how soon others go on after 50 kills"
	@echo "make fuzz   FUZZ_SECONDS=60 FUZZ_UPDATES=1000000: hostile updates, then each decoder guided by coverage"
	@echo "make bench  tasks/s and records/s of this machine"
	@echo "make fmt    format the code"
	@echo "make lock   pin the newest versions of all packages, with their hashes"
	@echo "make audit  known weaknesses of the pinned packages, and a bill of materials in dist/"

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

$(VENV)/ready: pyproject.toml requirements-dev.lock
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --requirement requirements-dev.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/ready
	$(BIN)/python -m examples.demo

test: $(VENV)/ready
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q $(PYTEST_ARGS)

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py
	$(BIN)/python -m tests.wheel

sim: $(VENV)/ready
	$(BIN)/python -m tests.sim.run --seed $(SEED) --seeds $(SEEDS) --nodes $(NODES) --seconds $(SECONDS) --processes $(WORKERS)

sim-mutants: $(VENV)/ready
	$(BIN)/python -m tests.sim.mutation --cap $(CAP) --processes $(WORKERS)

chaos: $(VENV)/ready
	CHAOS_ROUNDS=20 CHAOS_SECONDS=$(CHAOS_SECONDS) $(BIN)/python -m pytest -q -s \
		tests/scenarios/test_chaos.py tests/scenarios/test_kill.py tests/scenarios/far_chaos.py

chaos-figures: $(VENV)/ready
	$(BIN)/python -m tests.scenarios.figures

fuzz: $(VENV)/ready
	$(PIP) --no-build-isolation --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz.campaign --updates $(FUZZ_UPDATES) --seed $(SEED)
	for target in $$($(BIN)/python -m tests.fuzz.targets); do \
		$(BIN)/python -m tests.fuzz.guided $$target --seconds $(FUZZ_SECONDS) || exit 1; done

bench: $(VENV)/ready
	$(BIN)/python -m tests.bench

fmt: $(VENV)/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --exit-zero .

lock: $(VENV)/ready
	$(PIP) --no-build-isolation --editable '.[supply]'
	$(BIN)/$(LOCK) --upgrade pyproject.toml --output-file requirements.lock
	$(BIN)/$(LOCK) --upgrade pyproject.toml --extra dev --constraint requirements.lock --output-file requirements-dev.lock

audit: $(VENV)/ready
	$(PIP) --no-build-isolation --editable '.[supply]'
	@mkdir -p dist
	$(BIN)/cyclonedx-py requirements requirements.lock --output-file dist/sbom.cdx.json
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement requirements.lock
