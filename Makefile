# `make help` lists what there is. Each target sets up what it needs in .venv.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
EXTRAS ?= dev
CONSTRAINTS ?=

# Tests start thousands of processes: without bytecode, each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint check docs package test-fast test-package test-side-by-side test-serial test-sdk test-sqlalchemy \
  test-tempo test-peers analysis-eval conformance soak test-python test-python-between test-lowest coverage bench install clean
.DEFAULT_GOAL := test

# Tests share no port, file or process, so that several run side by side; those marked `serial` measure the machine.
# Half of a test's time is waiting for servers: two for each core of a machine that has two.
JOBS ?= 4
PYTEST = $(BIN)/python -m pytest
SIDE_BY_SIDE = $(PYTEST) --numprocesses $(JOBS) --dist worksteal

# What records spans at the doors, which must hold with the SDK's own provider too.
PROVIDER_SUITE = tests/spans $(addprefix tests/conformance/test_,client.py server.py) $(addprefix tests/test_,asgi.py error_pages.py \
  falcon.py fastapi.py flask.py httpx.py litestar.py mounts.py options.py requests.py skip.py starlette.py \
  trace_client.py urllib3.py websocket.py wsgi.py)

# The door for SQLAlchemy: what an interpreter, or another version of SQLAlchemy, may change.
DATABASE_SUITE = $(addprefix tests/db/test_,pool.py sqlalchemy.py)

# The recorder. What a kept request says, and how many are kept, is counted alike by every interpreter.
RECORDING = $(filter-out $(addprefix %/test_,keep_rate.py kept_as_sampled.py),$(wildcard tests/recording/test_*.py))

# What another interpreter may change: how calls, threads, signals, forks and garbage go, and so the doors, the recorder,
# delivery and the ends of processes. Of a Python between the oldest and the newest, what rests on the bytecode is enough:
# what holds at both ends, and fails between, has to do with that.
PYTHON_SUITE = $(PROVIDER_SUITE) $(DATABASE_SUITE) $(RECORDING) $(addprefix tests/,export watch) \
  $(addprefix tests/field/test_,garbage.py unfinished.py) $(addprefix tests/test_,client_interrupts.py clock.py cost.py \
  endings.py interrupts.py lock_free.py processes.py provider.py recorder.py stacktrace.py)
BETWEEN_SUITE = $(RECORDING) tests/spans tests/watch \
  $(addprefix tests/test_,asgi.py endings.py interrupts.py lock_free.py recorder.py stacktrace.py wsgi.py)

# What another version of a package may change: the doors, what takes the place of the SDK's parts, and what is spoken with
# servers, clients and backends. How delivery, signals and forks go, and what is remembered or refused, is ours alone, and
# the page the browser's.
PACKAGES_SUITE = $(filter-out %/test_fastapi.py,$(PROVIDER_SUITE)) $(DATABASE_SUITE) \
  $(filter-out %/test_counts.py,$(RECORDING)) tests/recording/test_kept_as_sampled.py \
  $(filter-out %/test_memo.py,$(wildcard tests/encoding/test_*.py)) \
  $(addprefix tests/field/test_,client_options.py objects.py servers.py websocket_frameworks.py zero_code.py) \
  $(addprefix tests/viewer/test_,isolation.py patience.py querying.py receiving.py) tests/conformance/test_server_processes.py \
  $(addprefix tests/test_,answers.py architecture.py backends.py bootstrap.py otlp_grpc.py otlp_http.py propagation.py \
  provider.py recorder.py sampling.py third_parties.py values.py w3c_services.py)

help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

install: $(VENV)/installed ## set up .venv with everything; each other target does so by itself

# uv when it is there, pip when not; neither compiles what may never be imported.
$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "tracemw needs Python 3.11 or later, and $(PYTHON) is $$($(PYTHON) -V 2>&1); try: make PYTHON=python3.12" >&2; exit 2; }
	@echo "Setting up $(VENV) (about a minute the first time)"
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --seed --allow-existing --python "$$(command -v $(PYTHON))" $(VENV) && \
	  uv pip install --quiet --python $(BIN)/python $(addprefix -c ,$(CONSTRAINTS)) -e '.[$(EXTRAS)]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS)) -e '.[$(EXTRAS)]'; \
	fi
	@touch $@

demo: install ## three real services and their traces (ONCE=1: check and exit; INCIDENT=timeout|n-plus-one|ghost-error)
	@$(BIN)/python -m examples.demo $(if $(filter-out 0,$(ONCE)),--once) $(addprefix --incident ,$(INCIDENT))

test: lint test-side-by-side test-serial test-sdk ## linter, type checker and the whole suite

lint: install ## linter, formatter and type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint ## lint, and the tests of what has changed since main: see tests/touched.py
	$(SIDE_BY_SIDE) -m 'not serial and not browser' $$($(BIN)/python tests/touched.py) || [ $$? -eq 5 ]

test-fast: install ## one file of tests for each station of a request
	$(PYTEST) -q -m 'not serial' $$($(BIN)/python tests/touched.py --fast)

package: install ## the wheel and the sdist, in dist/
	$(BIN)/python -m hatchling build

test-package: install ## wheel and sdist in empty environments, each extra alone: see tests/installed
	@PYTHONPATH=tests $(BIN)/python -m installed

test-side-by-side: install
	$(SIDE_BY_SIDE) -m 'not serial' $(PYTEST_ARGS)

# Only their files are collected, which spares ten seconds; there may be none among those that PYTEST_ARGS names.
test-serial: install
	$(PYTEST) -m serial $(or $(PYTEST_ARGS),$$(grep -rl --include='*.py' 'mark\.serial' tests)) || [ $$? -eq 5 ]

# Of these, those that look at what the global provider has recorded.
test-sdk: install
	$(SIDE_BY_SIDE) --recorder=sdk $(PROVIDER_SUITE)

# The door for SQLAlchemy with the version that the official instrumentation, which other tests need, does not take.
test-sqlalchemy: install ## the door for SQLAlchemy with version 2.1
	@$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)-sqlalchemy/site-packages 'sqlalchemy>=2.1,<2.2'
	PYTHONPATH=$(VENV)-sqlalchemy/site-packages $(PYTEST) $(DATABASE_SUITE) $(PYTEST_ARGS)

# Which lines and branches of src the suite reaches, in its own processes and in those that it starts: a table, and pages
# in htmlcov/. A test that fails, since it measures time or counts instructions, does not matter here.
# tests/covering.py lets coverage see the threads that tracemw starts beneath `threading`.
coverage: export PYTHONPATH = $(CURDIR)/tests
coverage: install ## which lines and branches the suite reaches
	$(BIN)/python -m coverage erase
	-$(BIN)/python -m coverage run -m pytest --numprocesses $(JOBS) --dist worksteal -m 'not serial' $(PYTEST_ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage html --quiet
	$(BIN)/python -m coverage report

# Against the Tempo that TEMPO_URL and TEMPO_ENDPOINT name, else one that docker compose starts; `make test` runs the
# same test against the viewer.
test-tempo: install ## the multi-service test against a real Tempo
	@$(BIN)/python -m tests.integration

# The test suites of Flask, Starlette, httpx, requests and FastAPI with tracemw in everything that they make, beside the
# same without it: see tests/peers/README.md. PEERS="flask httpx" runs some.
test-peers: install ## the frameworks' own test suites, traced
	@PYTHONPATH=tests $(BIN)/python -m peers $(PEERS)

# The documentation, in docs/_build/html. A warning is an error, and so is a link to nowhere.
docs: install ## the documentation, in docs/_build/html
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# Traces whose faults are known, recorded and made up, and what `tracemw analyze` finds in them; 1 if a goal is not reached.
# SEED=7 makes up others. See tests/analysis/evaluation.
analysis-eval: install ## precision and recall of the findings, as a table
	@PYTHONPATH=tests $(BIN)/python -m analysis.evaluation $(addprefix --seed ,$(SEED))

# What holds at which door, as a table.
conformance: install ## what holds at which door, as a table
	@$(BIN)/python -m pytest tests/conformance --conformance-table -q

# Services under full load for so many minutes, while faults of their backend come and go at random.
MINUTES ?= 10
soak: install ## services under full load while their backend misbehaves (MINUTES=10)
	@PYTHONPATH=tests $(BIN)/python -m chaos.soak --minutes $(MINUTES) $(addprefix --seed ,$(SEED))

# Some of the tests on another interpreter, or on other packages; hypothesis makes up a tenth of its examples.
SUITE ?= $(PYTHON_SUITE)
test-python: install
	$(SIDE_BY_SIDE) -m 'not serial' --hypothesis-profile quick $(SUITE) $(PYTEST_ARGS)

test-python-between:
	$(MAKE) test-python SUITE='$(BETWEEN_SUITE)'

# FastAPI apart: each of its versions with native telemetry needs a newer OpenTelemetry than the lowest.
test-lowest: ## the suite on the lowest versions that are supported
	$(MAKE) test-python VENV=.venv-lowest CONSTRAINTS=tests/lowest-versions.txt \
	  EXTRAS=starlette,flask,litestar,falcon,httpx,httpx2,requests,viewer,test SUITE='$(PACKAGES_SUITE)'
	$(MAKE) test-python VENV=.venv-lowest-fastapi CONSTRAINTS=tests/lowest-fastapi.txt EXTRAS=all,test \
	  SUITE='tests/test_error_pages.py tests/test_fastapi.py tests/test_w3c_services.py'

# What tracemw costs beside others, as a table: see benchmarks/README.md. ROWS="asgi encode" runs some rows,
# BENCH_QUICK=1 all of them with fewer rounds; AGAINST=../before compares with another checkout in place of others.
bench: .venv-bench/peers ## what tracemw costs beside others, as a table
	@.venv-bench/bin/python -m benchmarks $(addprefix --against=,$(AGAINST)) $(ROWS)

# All of it is resolved at once: the instrumentations are of one release with the SDK, which need not be the newest.
.venv-bench/peers: benchmarks/requirements.txt pyproject.toml
	@echo "Setting up .venv-bench (about a minute the first time)"
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --seed --allow-existing --python "$$(command -v $(PYTHON))" .venv-bench && \
	  uv pip install --quiet --upgrade --python .venv-bench/bin/python -e '.[all]' -r $<; \
	else \
	  $(PYTHON) -m venv .venv-bench && \
	  .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -e '.[all]' -r $<; \
	fi
	@touch $@

clean: ## remove the environments and what tools leave behind
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist docs/_build
