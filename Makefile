# make demo     install the package and run its main job
# make test     run the whole test suite           make test ARGS="-k journal"
# make test-coaia   the same for what users of coaia have, with coaia in an environment of its own
# make test-lfx       conversations over the death of every process, on a real `lfx serve`: 4 minutes, 0.5 GB
# make test-langflow  the same on a real Langflow: 10 minutes, 2 GB
# make test-flowise   the same on a real Flowise: 12 minutes, 2 once it is installed, 3 GB; it needs npm
# make test-moving    a conversation from that Flowise to that Langflow, and back: 2 minutes
# make test-inspector  the MCP Inspector as a client of `flywheel mcp`: 3 minutes, 0.3 GB; it needs npm
# make chaos    the proof, about 5 minutes: faults against what was accepted   make chaos ARGS="--seed 7"
# make bench    ours beside its peers, about 20 minutes; ARGS="--quick" about 3   make bench ARGS="--peers ours,floor"
# make bench-small   a session against PING, a long one against a short one, in a minute
# make bench-extremes   a million turns, large turns and heads, and how long Redis is held up, in three minutes
# make bench-recording   what recording adds to a tool call, over stdio and HTTP, in a minute
# make bench-flows   what is added to a call of a flow, in two minutes
# make bench-capacity   what a turn and a session cost Redis and us, and what that comes to, in a minute
# make bench-secrecy   what masking and encryption add to a save, in half a minute
# make check    format, lint, types, import layers, documentation
# make format   put the code in the house's format
# make clean    remove everything that the other targets made

PYTHON ?= python3
ARGS   ?=

VENV := .venv
BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip --quiet --disable-pip-version-check

# It pins an old redis, so it has an environment of its own.
COAIA := .venv-coaia

# Servers of flows, each with an environment of its own.
LFX      := .venv-lfx
LANGFLOW := .venv-langflow
FLOWISE  := .flowise

# A client that we did not write.
INSPECTOR := .inspector

# The benchmark's own, with one for each peer inside.
BENCH := .venv-bench

# The documentation's own check, once there is one.
CHECK_DOCS := $(wildcard scripts/check_docs.py)

.PHONY: help demo test test-coaia test-lfx test-langflow test-flowise test-moving test-inspector chaos bench bench-small bench-extremes bench-flows bench-recording bench-capacity bench-secrecy check format clean
# Two pips in one environment would spoil it under make -j.
.NOTPARALLEL:

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(VENV)/.demo
	$(BIN)/flywheel demo $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadscope $(ARGS)

test-coaia: $(VENV)/.dev $(COAIA)/.made
	$(BIN)/python -m pytest tests/interop $(ARGS)

test-lfx: $(VENV)/.dev $(LFX)/.made
	$(BIN)/python -m pytest tests/real_flows/test_lfx.py $(ARGS)

test-langflow: $(VENV)/.dev $(LANGFLOW)/.made
	$(BIN)/python -m pytest tests/real_flows/test_langflow.py $(ARGS)

test-flowise: $(VENV)/.dev $(FLOWISE)/.made
	$(BIN)/python -m pytest tests/real_flows/test_flowise.py $(ARGS)

test-moving: $(VENV)/.dev $(FLOWISE)/.made $(LANGFLOW)/.made
	$(BIN)/python -m pytest tests/real_flows/test_moving.py $(ARGS)

test-inspector: $(VENV)/.dev $(INSPECTOR)/.made
	$(BIN)/python -m pytest tests/inspector/test_inspector.py $(ARGS)

chaos: $(VENV)/.dev
	$(BIN)/python -m chaos $(ARGS)

bench: $(BENCH)/.made
	$(BENCH)/bin/python -m benchmarks $(ARGS)

bench-small: $(VENV)/.dev
	$(BIN)/python -m benchmarks.small

bench-extremes: $(VENV)/.dev
	$(BIN)/python -m benchmarks.extremes

bench-recording: $(VENV)/.dev
	$(BIN)/python -m benchmarks.recording

bench-secrecy: $(VENV)/.dev
	$(BIN)/python -m benchmarks.secrecy

bench-capacity: $(VENV)/.dev
	$(BIN)/python -m benchmarks.capacity $(ARGS)
bench-flows: $(VENV)/.dev
	$(BIN)/python -m benchmarks.flows

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(if $(CHECK_DOCS),$(BIN)/python $(CHECK_DOCS))

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(COAIA) $(LFX) $(LANGFLOW) $(FLOWISE) $(INSPECTOR) $(BENCH) build dist .hypothesis .grimp_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests chaos -name __pycache__ -prune -exec rm -rf {} +

# One environment, a stamp for each thing that was put into it. The install is editable, so new code needs no new
# install; only a change of what is required does.
$(VENV)/.made:
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml requirements-dev.txt
	$(PIP) install --constraint requirements-dev.txt --editable '.[mcp,redis]'
	touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml requirements-dev.txt
	$(PIP) install --requirement requirements-dev.txt --editable '.[all]'
	touch $@

$(COAIA)/.made:
	$(PYTHON) -m venv --clear $(COAIA)
	$(COAIA)/bin/python -m pip --quiet --disable-pip-version-check install coaiapy==0.6.2
	touch $@

# Both with uv: what fits each other takes it a second to find out, and pip a quarter of an hour.
$(LFX)/.made:
	$(PYTHON) -m venv --clear $(LFX)
	$(LFX)/bin/python -m pip --quiet --disable-pip-version-check install uv==0.13.9
	$(LFX)/bin/uv pip install --quiet --python $(LFX) lfx==1.13.0
	touch $@

$(LANGFLOW)/.made:
	$(PYTHON) -m venv --clear $(LANGFLOW)
	$(LANGFLOW)/bin/python -m pip --quiet --disable-pip-version-check install uv==0.13.9
	$(LANGFLOW)/bin/uv pip install --quiet --python $(LANGFLOW) langflow==1.13.0
	touch $@

# It wants Node 24, which npm has, too. Of all install scripts only the database's is needed: the others load browsers.
$(FLOWISE)/.made:
	rm -rf $(FLOWISE)
	mkdir $(FLOWISE)
	npm install --prefix $(FLOWISE) --silent node@24.21.0
	PATH="$(CURDIR)/$(FLOWISE)/node_modules/node/bin:$$PATH" \
		npm install --prefix $(FLOWISE) --silent --ignore-scripts flowise@3.1.4
	PATH="$(CURDIR)/$(FLOWISE)/node_modules/node/bin:$$PATH" npm rebuild --prefix $(FLOWISE) --silent sqlite3
	touch $@

# It wants Node 22.19 or newer, which npm has, too.
$(INSPECTOR)/.made:
	rm -rf $(INSPECTOR)
	mkdir $(INSPECTOR)
	npm install --prefix $(INSPECTOR) --silent --no-package-lock node@24.21.0
	PATH="$(CURDIR)/$(INSPECTOR)/node_modules/node/bin:$$PATH" \
		npm install --prefix $(INSPECTOR) --silent --no-package-lock --ignore-scripts @modelcontextprotocol/inspector@2.12.0
	touch $@

# Not cleared when the package's requirements change: the peers' environments inside take minutes to make.
$(BENCH)/.made: pyproject.toml requirements-dev.txt benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCH)
	echo '*' > $(BENCH)/.gitignore
	$(BENCH)/bin/python -m pip --quiet --disable-pip-version-check install --requirement benchmarks/requirements.txt \
		--constraint requirements-dev.txt --editable '.[redis]'
	touch $@
