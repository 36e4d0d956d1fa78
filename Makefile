# The commands of this repository. Every target does its own set-up: it needs Python 3.11+, make and a package index.
#
#   PYTHON=python3.12 make test     another interpreter, in an environment of its own (.venv-3.12)
#   make test ARGS='-k frames'      what is given to pytest besides
#   make coverage                   the tests with branch coverage, which takes half as long again
#   make test WORKERS=1             in so many processes; auto is two more than cores

PYTHON ?= python3
COVERAGE ?= no
WORKERS ?= auto
ARGS ?=

ifndef VENV
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null))
endif

RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed
# What the examples need; a part of what development needs, which has it too.
DEMO_INSTALLED := $(VENV)/.installed-demo
PARALLEL = -n $(WORKERS) --dist worksteal
# Tests across packages, of other programs or with processes of their own: `make quick` runs the rest.
ACROSS := benchmarks conformance contracts deploy documented examples hostile interop soak workers
# What another interpreter makes no difference to: other programs, the documentation, published cases, attacks.
SAME := benchmarks compat conformance deploy documented examples hostile interop
NAMED = $(filter tests%,$(ARGS))
# Coverage has the thorough tests, too, and twice as many examples of each property: .ci/run runs it.
THOROUGH := -m 'not soak and not repetition'
coverage: export TRIO_WS_MAX_EXAMPLES ?= 20
SPEEDUPS := trio_ws/protocol/_speedups.c
CORE := $(wildcard trio_ws/native/*.c)
COMPILED := $(SPEEDUPS) $(CORE) $(wildcard trio_ws/native/*.h)
SANITIZED := build/sanitized
SANITIZE = $(CC) -std=gnu11 -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all \
	-Wall -Wextra -Wno-cast-function-type -Wno-missing-field-initializers -Werror -shared -fPIC \
	-I"$$($(RUN) -c 'import sysconfig; print(sysconfig.get_path("include"))')"
DOCS_INSTALLED := $(VENV)/.installed-docs
BENCH := .venv-bench$(patsubst .venv%,%,$(VENV))
BENCH_INSTALLED := $(BENCH)/.installed

# Where this is set (many container images set it), each process of the tests would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help screenshots python venv demo test coverage report kinds again quick another newer properties watch sanitize fuzz house repetitions codec fairness instructions imports deflate scaling bench lint types docs site soak churn lowest clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Words of Python 2, so that an interpreter of any age can say that it is too old.
python:
	@command -v $(PYTHON) >/dev/null || { \
		echo "make: there is no $(PYTHON) here. Install Python 3.11 or newer, or name one: PYTHON=python3.12 make ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: $(PYTHON) does not run, or is older than 3.11. Name a newer one: PYTHON=python3.12 make ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "make: $(PYTHON) has no venv module or no ensurepip. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

# Order-only on `python`: the check runs, but a passing check does not make the environment stale.
$(DEMO_INSTALLED): pyproject.toml setup.py $(COMPILED) | python
	@echo "make: installing trio_ws and the packages that it needs into $(VENV), once"
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) install -q -e .
	@touch $@

$(INSTALLED): pyproject.toml setup.py $(COMPILED) | python
	@echo "make: installing all that development needs into $(VENV), some 400 MB, once"
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) install -q -e '.[dev]'
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	$(PIP) install -q -e '.[docs]'
	@touch $@

venv: $(INSTALLED) ## build the environment (.venv) with everything that development needs

# Ctrl-C ends the example, not make. In the foreground of a terminal the shell's job control (set -m) gives the example
# a process group of its own, so make is not interrupted and reports the example's status, which is 0. Anywhere else
# (background, no terminal, no ps) the example takes the shell's place, so that a signal sent by make reaches it.
# The price: Ctrl-Z ends the example instead of pausing it.
demo: $(if $(wildcard $(INSTALLED)),$(INSTALLED),$(DEMO_INSTALLED)) ## run the chat example; Ctrl-C ends it
	@case "$$(ps -o stat= -p $$$$ 2>/dev/null)" in \
		*+*) set -m; $(RUN) examples/chat/app.py ;; \
		*) exec $(RUN) examples/chat/app.py ;; \
	esac

# The contract on a poller with everything in Python, for coverage with the core alone in Python, too; `make kinds` runs
# all of it so. It runs beside the other tests, which wait a lot, and is printed behind them.
KINDS := $(if $(filter yes,$(COVERAGE)),core 1,1)
KINDS_LOG := $(VENV)/other-kinds.log
MEASURED := $(if $(filter yes,$(COVERAGE)),-m coverage run --parallel-mode)
OTHER_KINDS = for kind in $(KINDS); do TRIO_WS_NETWORK=poller TRIO_WS_PURE_PYTHON=$$kind $(RUN) $(MEASURED) -m pytest -q -n 0 \
	-p no:cacheprovider tests/contracts -k 'server and poller' || exit; done
COVERED = $(RUN) $(MEASURED) -m pytest $(PARALLEL) $(THOROUGH)
WITH_OTHER_KINDS = status=0; { $(OTHER_KINDS); } >$(KINDS_LOG) 2>&1 & $(1) || status=1; \
	wait $$! || status=1; cat $(KINDS_LOG); exit $$status

kinds: $(INSTALLED) ## the contract, hostile and conformance tests with the core in Python, and with everything in Python
	for kind in core 1; do TRIO_WS_PURE_PYTHON=$$kind $(RUN) -m pytest $(PARALLEL) tests/contracts tests/hostile tests/conformance $(ARGS) || exit; done

# Some tests start programs that are not Python's. Without one of them what only these tests reach cannot be covered.
test: $(INSTALLED) ## run the tests
ifneq ($(COVERAGE),yes)
	$(if $(ARGS),$(RUN) -m pytest $(PARALLEL) $(ARGS),$(call WITH_OTHER_KINDS,$(RUN) -m pytest $(PARALLEL)))
else
	@$(RUN) -m coverage erase
	$(if $(ARGS),$(COVERED) $(ARGS),$(call WITH_OTHER_KINDS,$(COVERED)))
	@$(MAKE) --no-print-directory report
endif

coverage: ## run the tests with branch coverage, which has a gate where all that they start is installed
	@$(MAKE) --no-print-directory test COVERAGE=yes

report: ## report the branch coverage of the last `make coverage`
	@if ls .coverage.* >/dev/null 2>&1; then $(RUN) -m coverage combine -q; fi
	@missing=$$($(RUN) tests/support/services.py); \
	if [ -z "$$missing" ]; then $(RUN) -m coverage report; else \
		$(RUN) -m coverage report --fail-under=0; \
		echo "Not tested here, so the coverage has no gate (.ci/run installs what is missing, where it can):"; \
		echo "$$missing" | sed 's/^/  /'; \
	fi

again: KINDS := core 1
again: $(INSTALLED) ## run the tests that failed last once more, one after another, and the other kinds
	$(RUN) -m pytest -n 0 $(THOROUGH) --last-failed --last-failed-no-failures none || test $$? = 5 # none had failed
	$(if $(ARGS),,$(OTHER_KINDS))

quick: $(INSTALLED) ## the unit tests of all packages, in seconds; ARGS=tests/rooms for a folder
	TRIO_WS_MAX_EXAMPLES=5 $(RUN) -m pytest -n logical --dist worksteal -q -m 'not soak and not slow and not repetition and not thorough' \
		$(if $(NAMED),,$(ACROSS:%=--ignore=tests/%)) $(ARGS)

another: $(INSTALLED) ## the tests that another interpreter may make a difference to: PYTHON=python3.13 make another
	TRIO_WS_MAX_EXAMPLES=10 $(RUN) -m pytest $(PARALLEL) $(if $(NAMED),,$(SAME:%=--ignore=tests/%)) $(ARGS)

NEWER := 3.14 3.15
newer: ## the tests of `make another` on the newest Pythons; in a Debian root where the machine has none
	@for version in $(NEWER); do \
		if command -v python$$version >/dev/null; then $(MAKE) another PYTHON=python$$version || exit; \
		else WORKERS=$(WORKERS) tools/root.sh $$version $(ARGS) || exit; fi; \
	done

properties: $(INSTALLED) ## the property tests with twenty times as many examples as in `make test`
	TRIO_WS_MAX_EXAMPLES=200 $(RUN) -m pytest $(PARALLEL) -m 'hypothesis and not soak and not repetition' $(ARGS)

watch: $(INSTALLED) ## run `make quick` after each change of a file; ARGS as there, Ctrl-C ends it
	$(RUN) tools/watch.py $(MAKE) --no-print-directory quick

# A copy of the package with extensions of its own. Leaks are not looked for here, as the interpreter itself has
# some; tests/protocol/test_speedups.py counts ours.
sanitize: $(INSTALLED) ## the compiled parts' tests under sanitizers (addresses, undefined behaviour); gcc
	rm -rf $(SANITIZED)
	mkdir -p $(SANITIZED)
	cp -R trio_ws $(SANITIZED)/
	$(SANITIZE) $(SPEEDUPS) -o $(SANITIZED)/trio_ws/protocol/_speedups.abi3.so
	$(SANITIZE) -DTRIO_WS_FAULTS $(CORE) -o $(SANITIZED)/trio_ws/native/_core.abi3.so
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
		ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
		PYTHONMALLOC=malloc PYTHONPATH=$(SANITIZED) \
		$(RUN) -P -m pytest -p no:cacheprovider --capture=sys -k 'compiled or differential or speedups or native' \
		tests/protocol tests/native $(ARGS)

# What reaches new code is kept in build/fuzz, and so is what fails.
fuzz: $(INSTALLED) ## fuzz the compiled codec against the pure one, for a minute; ARGS are libFuzzer's
	$(PIP) install -q 'atheris>=3'
	mkdir -p build/fuzz
	$(RUN) tests/fuzz/codec.py -max_total_time=60 -artifact_prefix=build/fuzz/ $(ARGS) build/fuzz

codec: $(INSTALLED) ## measure both codecs, in nanoseconds
	$(RUN) benchmarks/codec.py

fairness: $(INSTALLED) ## measure the longest step of a task while one peer sends what is the most work; both codecs
	$(RUN) benchmarks/fairness.py

instructions: $(INSTALLED) ## count the instructions that a message costs, beside the least it could; valgrind
	$(RUN) benchmarks/instructions.py

imports: $(INSTALLED) ## measure what imports cost beside Trio's own, in processor time
	$(RUN) benchmarks/importing.py $(ARGS)

scaling: $(INSTALLED) ## measure rooms: one worker in memory, two workers with a Redis of their own
	$(RUN) benchmarks/scaling.py $(ARGS)

# The peers have an environment of their own: nothing of this library needs them.
$(BENCH_INSTALLED): pyproject.toml setup.py $(COMPILED) benchmarks/requirements.txt | python
	@$(BENCH)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(BENCH)
	$(BENCH)/bin/python -m pip --disable-pip-version-check install -q -e . -r benchmarks/requirements.txt
	@touch $@

bench: $(BENCH_INSTALLED) ## measure us and our peers, in a quarter of an hour; ARGS='--quick', '--help', ...
	$(BENCH)/bin/python benchmarks/run.py $(ARGS)

house: $(INSTALLED) ## measure the structure and the prose of the package
	$(RUN) tools/house.py $(ARGS)

deflate: $(INSTALLED) ## measure compression: processor time, sizes, memory per connection
	$(RUN) benchmarks/compression.py

screenshots: $(INSTALLED) ## take the screenshots of the examples for the documentation
	TRIO_WS_SCREENSHOTS=docs/_static $(RUN) -m pytest -q -n 0 -k "focus or restarted" tests/examples

lint: $(INSTALLED) ## ruff: rules and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

# pyright finds packages by asking the `python` on PATH, and by reading the interpreter's path, where an editable
# installation is a hook it cannot run.
types: PYRIGHT = PATH="$(abspath $(VENV))/bin:$$PATH" PYTHONPATH="$(CURDIR)" $(RUN) -m pyright
types: $(INSTALLED) ## mypy --strict, and pyright: the public types are complete, and users' code is checked with them
	$(RUN) -m mypy
	$(PYRIGHT) --verifytypes trio_ws --ignoreexternal
	$(PYRIGHT) tests/typing

# Tests that run what the pages show. Others take their figures, options and tables from the pages, too.
SNIPPETS := $(addprefix tests/documented/test_,front_pages.py guide.py pages.py reference.py replies.py rooms.py scaling.py snippets.py site.py) \
	tests/testing/test_guide.py tests/server/test_tasks.py tests/workers/test_page.py

docs: site ## build the documentation into site/, and run its snippets; a broken link or a name without a docstring fails
	$(RUN) -m pytest -q $(PARALLEL) $(SNIPPETS) $(ARGS)

site: $(DOCS_INSTALLED) ## build the documentation only
	$(RUN) -m sphinx --fail-on-warning --keep-going --quiet --fresh-env --write-all -j auto -d build/doctrees docs site

soak: $(INSTALLED) ## the tests that take minutes
	$(RUN) -m pytest -m soak -s $(ARGS)

repetitions: $(INSTALLED) ## tests on the networks that run the same code of ours once more
	$(RUN) -m pytest $(PARALLEL) -m repetition $(addprefix tests/,connection contracts documented hostile interop rooms) $(ARGS)

churn: $(INSTALLED) ## 10,000 connections that come and go, a third of them aborted, on each transport
	TRIO_WS_CHURN=10000 $(RUN) -m pytest tests/hostile/test_churn.py $(ARGS)

lowest: python ## run the tests with the oldest dependencies that pyproject.toml allows
	@$(PYTHON) .ci/lowest.py pyproject.toml > .lowest.txt
	PIP_CONSTRAINT=$(CURDIR)/.lowest.txt $(MAKE) test VENV=.venv-lowest

clean: ## remove what make made, the environments too
	rm -rf .venv .venv-* .lowest.txt build dist site htmlcov *.egg-info .coverage .coverage.*
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find trio_ws tests examples -name __pycache__ -prune -exec rm -rf {} +
