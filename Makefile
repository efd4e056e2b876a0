# Everything below installs what it needs into .venv: a clean machine needs Python 3.11 or newer, make and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test tests check lint types advisories audit chaos both-sides test-engine bench bench-peers plots test-cron test-image test-debian test-ui format readme dist clean

help:
	@echo "make demo    the main job on a built-in sandbox, start to end"
	@echo "make test    all tests and checks"
	@echo "make check   ruff, mypy, the direction of imports, and known vulnerabilities where the network lets us ask"
	@echo "make audit   the last of these alone; fails when nobody can be asked"
	@echo "make readme  write what comes from the code: parts of the READMEs, the schema of the settings"
	@echo "make chaos   the proof that nobody is lost, with fresh seeds (MINUTES=10, SEED=...)"
	@echo "make both-sides  what reconcile promises, on a list of 20,000"
	@echo "make test-engine  pages moved by workers over a real broker (installs rabbitmq-server, as root on Debian)"
	@echo "make bench   how fast it is, and how small, each figure beside its ceiling (BENCH=\"ceiling idle\", QUICK=1)"
	@echo "make bench-peers what one would take instead, on the same list (installs 600 MB)"
	@echo "make plots   two pictures from bench.json"
	@echo "make test-cron   the crontab, set up on a bare Debian in a folder, under its cron (as root on Debian; four minutes)"
	@echo "make test-image  the image built and run as the pod (as root on Debian; two minutes)"
	@echo "make test-debian  all tests on another Debian, in a folder (as root on Debian; a quarter of an hour; DEBIAN=trixie)"
	@echo "make test-ui     the pages in a browser, with pictures (as root on Debian; one minute)"
	@echo "make dist    wheel and sdist of a release in dist/, checked, and the wheel's demo in an empty environment"
	@echo "make format  bring the code into shape"

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/installed
	$(BIN)/mcimport demo

# What takes a second comes first. What takes longer goes on side by side, for many a test only waits.
test: lint
	@$(MAKE) --no-print-directory --jobs=3 types advisories tests

tests: $(VENV)/installed
	$(BIN)/python -m pytest -n 4 --dist worksteal

check: lint types advisories

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/hadolint cron/Dockerfile

types: $(VENV)/installed
	$(BIN)/mypy

advisories: $(VENV)/installed
	$(BIN)/python tests/audit.py

# Pages over RabbitMQ and Celery, on a broker of its own; installs rabbitmq-server as root on Debian, else ends with 2.
test-engine: $(VENV)/installed
	$(BIN)/python tests/broker/run.py

audit: $(VENV)/installed
	$(BIN)/python tests/audit.py --must

# As long as one likes, with fresh seeds: make chaos MINUTES=60. The seed of a failure tells its story again: SEED=123.
MINUTES ?= 10
chaos: $(VENV)/installed
	PYTHONPATH=tests $(BIN)/python tests/chaos/run.py --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# What `mcimport reconcile` promises, at full size (the tests do it with some hundreds): SIZE=20000.
SIZE ?= 20000
both-sides: $(VENV)/installed
	PYTHONPATH=tests $(BIN)/python tests/chaos/both_sides.py --size $(SIZE)

# All of it (a quarter of an hour), or BENCH="ceiling idle"; QUICK=1: small sizes, to see that it runs.
# BASE=COMMIT: that commit is built in the user's cache folder, and measured beside this one, run after run in turn.
bench: $(VENV)/installed
	$(BIN)/python tests/benchmarks/run.py $(BENCH) $(if $(QUICK),--quick) $(if $(BASE),--base $(BASE)) --out bench.json

# Not in CI: each peer gets an environment of its own, in the user's cache folder. PEERS="dlt drt-core", QUICK=1.
bench-peers: $(VENV)/installed
	$(BIN)/python tests/benchmarks/peers.py $(PEERS) $(if $(QUICK),--quick) $(if $(BASE),--base $(BASE)) --out peers.json

plots: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'matplotlib>=3.9'
	$(BIN)/python tests/benchmarks/plot.py bench.json tests/benchmarks/pictures/throughput.svg tests/benchmarks/pictures/memory.svg

# Three trials that take root on Debian, and install what they need; elsewhere they say why not and end with 2.
test-cron: $(VENV)/installed
	DEBIAN=$(DEBIAN) PYTHONPATH=tests $(BIN)/python tests/scheduling/under_cron.py

test-image: $(VENV)/installed
	PYTHONPATH=tests $(BIN)/python tests/scheduling/in_a_container.py

# All tests, and the engine's, with the Python of another Debian: DEBIAN=trixie is 13, DEBIAN=bookworm 12.
DEBIAN ?= trixie
test-debian: $(VENV)/installed
	DEBIAN=$(DEBIAN) PYTHONPATH=tests $(BIN)/python tests/scheduling/on_another_debian.py

# The pages of `mcimport ui` in headless Chromium, which it installs as root on Debian; leaves pictures to look at.
test-ui: $(VENV)/installed
	$(BIN)/python tests/monitoring/ui/in_a_browser.py

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

readme: $(VENV)/installed
	$(BIN)/python tests/readme.py
	$(BIN)/python tests/config_schema.py

# A release: wheel and sdist in dist/, checked, and the wheel tried where this folder is not what is imported.
dist:
	$(PYTHON) tests/release.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
