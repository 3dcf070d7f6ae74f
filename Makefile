# Everything a person or CI starts. `make` alone says what there is; each target works on a fresh clone as the only command.

PYTHON ?= python3
USE_PIP ?=
# One worker more than processors, of which there are two: each waits for processes and pages a third of its time.
PYTEST_ARGS ?= -n 3 --dist loadfile --no-loadscope-reorder
BENCH_ARGS ?= --events 20000000 --rounds 3
RENDER_ARGS ?= --reports 100
LOADING_ARGS ?= --events 2000000 --rounds 3
LAB_ARGS ?= $(if $(filter 0,$(shell id -u)),--allow-root)

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCKS := requirements.txt requirements-uv.txt
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.PHONY: help report test coverage lab lint bench bench-smoke loading soak rendering metrics schema messages reads lock clean env
.PHONY: chromium databases spark docs

help: ## say what there is
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
	@echo '  variables:      PYTHON=python3.12 (which Python to build on), USE_PIP=1 (install with pip, not uv)'

report: $(READY) ## write a demo instance, ingest it, and render every report of every delivery
	$(BIN)/trackkit demo raw --seed 1
	$(BIN)/trackkit ingest raw --store store
	$(BIN)/trackkit run --store store --out reports
	@printf '\nOpen in a browser: %s\n' '$(CURDIR)/reports/index.html'

test: $(READY) chromium databases spark ## run every test
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lab: $(READY) store ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab $(LAB_ARGS) notebooks/explore/01_first_look.ipynb

store: | $(READY)
	$(BIN)/trackkit demo raw --seed 1
	$(BIN)/trackkit ingest raw --store store

lint: $(READY) ## check the style and the types of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

coverage: $(READY) chromium databases spark ## run every test and say which branches none of them takes
	@$(BIN)/python -m pytest $(PYTEST_ARGS) --cov --cov-report=term:skip-covered --cov-report=html

bench: $(READY) ## compare speed and memory with others (BENCH_ARGS: sizes), into benchmarks/RESULTS.md
	@$(BIN)/python -c 'import chdb' 2>/dev/null || $(BIN)/uv pip install --quiet --python $(BIN)/python --group bench || \
	  echo "ClickHouse (chdb) cannot be installed here; its line will be missing." >&2
	$(BIN)/python benchmarks/indicators.py $(BENCH_ARGS) --write benchmarks/RESULTS.md

bench-smoke: $(READY) ## fail where a ratio to others is below its floor; under a minute
	$(BIN)/python benchmarks/indicators.py --smoke --events 2000000 --rounds 3

loading: $(READY) ## time loading against bare readers (LOADING_ARGS: sizes, '--linear 1000000,10000000', '--late STORE')
	$(BIN)/python benchmarks/loading.py $(LOADING_ARGS)

soak: $(READY) ## load mixed logs 200 times, killed, repeated and late, and compare with one clean load
	$(BIN)/python benchmarks/soak.py --ingests 200

metrics: $(READY) ## write METRICS.md from the registry
	$(BIN)/trackkit metrics --markdown > METRICS.md.part && mv METRICS.md.part METRICS.md

schema: $(READY) ## write SCHEMA.md from the columns that the code declares
	$(BIN)/trackkit schema --markdown > SCHEMA.md.part && mv SCHEMA.md.part SCHEMA.md

messages: $(READY) ## bring the catalogues of languages in step with what the reports say
	$(BIN)/python -m trackkit.report.phrases

reads: $(READY) ## record which tables each analysis reads, into trackkit/analysis/reads.toml
	$(BIN)/python -m tests.reads

rendering: $(READY) ## time rendering against plain papermill, into benchmarks/RENDERING.md (RENDER_ARGS='--soak 5000': a soak test)
	$(BIN)/python benchmarks/render.py $(RENDER_ARGS) --write benchmarks/RENDERING.md

lock: $(READY) ## renew the lock files from pyproject.toml, then the environment
	$(COMPILE) --upgrade --group bootstrap --output-file requirements-uv.txt
	$(COMPILE) --upgrade --group spark --output-file requirements-spark.txt
	$(COMPILE) --upgrade --extra dask --extra lab --extra mysql --extra pdf --extra postgres --group test --group dev --group build pyproject.toml --output-file requirements.txt
	$(COMPILE) --upgrade --group docs --constraints requirements.txt --output-file requirements-docs.txt
	@$(MAKE) --no-print-directory env

docs: $(READY) ## build the documentation site into build/site; warnings fail
	@$(BIN)/python -c 'import zensical' 2>/dev/null || $(BIN)/pip install --quiet --require-hashes -r requirements-docs.txt
	$(BIN)/python docs/generate.py build/docs
	$(BIN)/zensical build --strict --clean
	@printf '\nOpen in a browser: %s\n' '$(CURDIR)/build/site/index.html'

clean: ## remove all that make wrote: the environment, the demo, its store and reports
	rm -rf $(VENV) raw store reports build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage htmlcov

env: $(READY)

# One environment for all targets. uv installs the lock in seconds; where it cannot (a mirror that only pip knows), pip does.
$(READY): pyproject.toml $(LOCKS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "trackkit needs Python 3.11 or later, and '$(PYTHON)' is not: say which one, as in 'make PYTHON=python3.12 report'." >&2; exit 2; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "'$(PYTHON)' cannot make an environment: on Debian and Ubuntu 'apt install python3-venv' mends that." >&2; \
	  rm -rf $(VENV); exit 2; }
	@test -n '$(USE_PIP)' || $(BIN)/pip install --quiet --require-hashes -r requirements-uv.txt || \
	  echo "uv could not be installed; going on with pip." >&2
	@if test -z '$(USE_PIP)' && $(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.txt; then :; else \
	  echo "Installing with pip: a minute or two." >&2; \
	  $(BIN)/pip install --quiet --require-hashes -r requirements.txt; fi
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --no-index --editable .
	@$(BIN)/python -m compileall -q trackkit  # else, where Python may write no bytecode, every process compiles anew
	@touch $@

# The tests in a browser skip without one, saying so; as root on Debian it is installed.
chromium:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && export DEBIAN_FRONTEND=noninteractive && \
	  apt-get -qq update </dev/null >/dev/null && apt-get -qq install --no-install-recommends chromium fonts-dejavu-core </dev/null >/dev/null; } || \
	  echo "No Chromium: the tests in a browser will be skipped ('apt install chromium' brings it)." >&2

# The tests of SQL sources start servers of their own and skip without them, saying so; as root on Debian the programs are
# installed, and no daemon is started: a policy forbids it for as long as that takes, where there is none already.
POLICY := /usr/sbin/policy-rc.d
databases:
	@{ ls /usr/lib/postgresql/*/bin/initdb || command -v initdb; } >/dev/null 2>&1 && \
	  { test -x /usr/sbin/mariadbd || command -v mariadbd; } >/dev/null || ( \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && export DEBIAN_FRONTEND=noninteractive && \
	  { test -e $(POLICY) || { trap 'rm -f $(POLICY)' EXIT; printf '#!/bin/sh\nexit 101\n' >$(POLICY) && chmod 755 $(POLICY); }; } && \
	  apt-get -qq update </dev/null >/dev/null && \
	  apt-get -qq install --no-install-recommends postgresql mariadb-server-core </dev/null >/dev/null ) || \
	  echo "No PostgreSQL or MariaDB: their tests will be skipped ('apt install postgresql mariadb-server-core')." >&2

# The tests on Spark skip without it, or without Java, saying so; too large for those who only want reports.
spark: $(READY)
	@$(BIN)/python -c 'import pyspark' 2>/dev/null || \
	  { test -z '$(USE_PIP)' && $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-spark.txt; } || \
	  $(BIN)/pip install --quiet --require-hashes -r requirements-spark.txt || \
	  echo "Spark cannot be installed here: its tests will be skipped." >&2
	@command -v java >/dev/null || test -n "$$JAVA_HOME" || \
	  echo "No Java: the tests on Spark will be skipped ('apt install default-jre-headless' brings it)." >&2
