# Call Archive: one command for everything. `make` lists the targets.
# Needs git, make and any Python >= 3.9; uv, Python 3.13 and every tool come from here.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

UV_VERSION := 0.13.9
REGION ?= eu-west-2

# uv from PATH, else a pinned one in a venv of its own.
UV := $(if $(shell command -v uv 2>/dev/null),uv,.tools/uv-env/bin/uv)
STAMP := .venv/.synced
# Tools run from the project's environment, also those that sam starts (python3.13, pip).
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0
# Without bytecode every process of every test would compile boto3 again.
unexport PYTHONDONTWRITEBYTECODE

# What a user passes reaches the shell through its environment, as it was written: it may hold any character.
TEXTS := AGENT CALLER FLOWS LAMBDA_ARN OPEN QUEUE_ARN REGION TARGET
$(foreach name,$(TEXTS),$(eval override $(name) := $$(value $(name))))
export $(TEXTS)

# What exists of these; bench/ and fuzz/ are optional.
PYTHON_DIRS = $(wildcard src local flows tests bench fuzz tools)
DOCKER_ANSWERS = docker info >/dev/null 2>&1
# This machine as containers see it. Older engines name the bridge's subnet only; it has the first address.
BRIDGE_GATEWAY = docker network inspect bridge -f '{{with index .IPAM.Config 0}}{{or .Gateway .Subnet}}{{end}}' \
  | sed 's|\.0/16$$|.1|'

.PHONY: help
help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sort | awk -F ':.*## ' '{printf "%-16s%s\n", $$1, $$2}'

.PHONY: setup
setup: $(STAMP) ## Create .venv from uv.lock (installs uv and Python 3.13 if they are missing)

# pyenv's 3.13, if it has one, else whatever uv finds or fetches. Not by a .python-version: inside the repository pyenv would
# then hide every command of its other Pythons, `aws` for one.
$(STAMP): $(filter .tools/%,$(UV)) pyproject.toml uv.lock
	@python=$$(PYENV_VERSION=3.13 pyenv which python3.13 2>/dev/null) || python=; \
	$(UV) sync --locked --all-extras $${python:+--python "$$python"}
	@touch $@

# A python3 that is a pyenv shim may refuse to start: try the system's too.
.tools/uv-env/bin/uv:
	@for python in python3 /usr/bin/python3 python; do \
	  $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null || continue; \
	  echo "no uv on PATH: installing uv $(UV_VERSION) into .tools/uv-env"; \
	  $$python -m venv .tools/uv-env && .tools/uv-env/bin/python -m pip install -q uv==$(UV_VERSION) && exit 0; \
	done; \
	echo "neither uv nor a Python >= 3.9 with venv found (Debian: apt install python3-venv)" >&2; exit 1

.PHONY: demo
demo: $(STAMP) ## Archive a simulated call on this machine (CALLER=a.wav AGENT=b.wav for your own voices; OPEN=1 shows it)
	@python -m local.demo $${CALLER:+--caller "$$CALLER"} $${AGENT:+--agent "$$AGENT"}
	@echo; echo "To look at and to listen to:"
	@call-archive report demo-output -o demo-output/call.html --overwrite --note "$$(cat demo-output/proof.txt)" $${OPEN:+--open}

.PHONY: local-aws
local-aws: $(STAMP) ## Serve a local AWS on port 4566, for the functions in `sam local`
	@mkdir -p .local-aws
	@hosts="--host 127.0.0.1"; \
	if $(DOCKER_ANSWERS); then \
	  hosts="$$hosts --host $$($(BRIDGE_GATEWAY))"; \
	else \
	  echo "no Docker engine answers: serving on 127.0.0.1 only"; \
	fi; \
	exec python -m local serve $$hosts --port 4566 --write-env .local-aws/env.json

.PHONY: local-stack
local-stack: $(STAMP) ## Serve a local AWS with a deployed stack and both functions, for `call-archive`
	exec python -m local serve --port 4566 --deploy .local-aws/functions

.PHONY: check
check: lint types imports template test ## Everything that CI checks

.PHONY: format
format: $(STAMP) ## Format the code and apply the safe lint fixes
	ruff format $(PYTHON_DIRS)
	ruff check --fix $(PYTHON_DIRS)

.PHONY: lint
lint: $(STAMP) ## Check format and lint, and the English of documents, help and template
	ruff format --check $(PYTHON_DIRS)
	ruff check $(PYTHON_DIRS)
	python tools/prose.py

.PHONY: types
types: $(STAMP) ## Type-check (mypy --strict)
	mypy $(PYTHON_DIRS)

.PHONY: imports
imports: $(STAMP) ## Check the imports between modules (rules in docs and pyproject.toml)
	lint-imports

.PHONY: template
template: $(STAMP) ## Check template.yaml and the examples (cfn-lint, serverless rules, sam validate --lint)
	cfn-lint template.yaml examples/*/template.yaml
	sam validate --lint --region "$$REGION"

# A file's tests stay in one process, which makes what they share once. One process more than cores: some tests wait.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
# Of all of src/, the command too, in percent of lines and branches.
COVERAGE = 94
PYTEST = pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: test
test: $(STAMP) ## Run every test with coverage; tests that need Docker are skipped with a note if there is none
	@$(DOCKER_ANSWERS) || echo "tests/sam_local: NOT RUN, no Docker engine answers here"
	$(PYTEST) --cov $(if $(PYTEST_ARGS),,--cov-fail-under=$(COVERAGE)) -m "not long" $(PYTEST_ARGS)

.PHONY: test-quick
test-quick: $(STAMP) ## Run the unit, property and template tests with few examples and without coverage
	CALL_ARCHIVE_EXAMPLES=100 $(PYTEST) tests/unit tests/properties tests/template $(PYTEST_ARGS)

EXAMPLES ?= 10000

.PHONY: explore
explore: $(STAMP) ## Run the state machines with EXAMPLES=10000 examples each (SEED=1 changes the examples)
	CALL_ARCHIVE_EXAMPLES=$(EXAMPLES) $(PYTEST) --hypothesis-seed=$(SEED) tests/properties/test_*_machine.py $(PYTEST_ARGS)

# The parts that decide, and what is measured of them: all of it, by tests of theirs alone.
PURE = */call_archive/intake/*,*/call_archive/media/*,*/call_archive/recording/*,*/call_archive/worker.py,*/call_archive/retry.py

.PHONY: test-pure
test-pure: $(STAMP) ## Cover every branch of intake, media, recording, worker and retry by unit and property tests alone
	CALL_ARCHIVE_EXAMPLES=100 $(PYTEST) --cov --cov-report= \
	  --ignore tests/unit/flows --ignore tests/unit/load --ignore tests/unit/local_aws \
	  tests/unit tests/properties $(PYTEST_ARGS)
	coverage report --fail-under=100 --include='$(PURE)'

# mutmut and aws-sam-cli need different versions of click, so mutmut has an environment outside the lock; what the
# tests need is there in the locked versions. MUTANTS: names, such as 'call_archive.retry* call_archive.recording.track*'.
MUTMUT_VERSION := 3.8.1
MUTANTS_STAMP := .mutants/venv/.synced

$(MUTANTS_STAMP): $(STAMP)
	$(UV) venv --quiet --clear --python .venv/bin/python .mutants/venv
	$(UV) export --locked --quiet --no-hashes --no-emit-project --no-header --all-extras | grep -v '^click==' \
	  > .mutants/constraints.txt
	$(UV) pip install --quiet --python .mutants/venv/bin/python --constraint .mutants/constraints.txt \
	  mutmut==$(MUTMUT_VERSION) aws-lambda-powertools boto3 ebmlite hypothesis jsonschema pytest werkzeug
	@touch $@

MUTANT_WORKERS ?= 1

.PHONY: mutants
mutants: $(MUTANTS_STAMP) ## Mutation-test retry, ending, publishing, retrieval, selection, timeline, track: list what no test detects
	@set -f; CALL_ARCHIVE_EXAMPLES=25 PYTHONPATH="$(CURDIR)/tools" PATH="$(CURDIR)/.mutants/venv/bin:$$PATH" \
	  mutmut run --max-children $(MUTANT_WORKERS) $(MUTANTS)
	@PATH="$(CURDIR)/.mutants/venv/bin:$$PATH" mutmut results | grep -v 'not checked' || echo "every change was noticed"

CALLS ?= 2000

.PHONY: test-faults
test-faults: $(STAMP) ## Run every fault of KVS, Connect, S3 and SQS, and CALLS=2000 random calls with random faults
	pytest tests/faults $(PYTEST_ARGS)
	python -m tests.faults.campaign --calls $(CALLS) --seed $(SEED)

KILLS ?= 200
SEED ?= 1

.PHONY: test-kills
test-kills: $(STAMP) ## Kill the functions at every step of KILLS runs; check that nothing is half-published, lost or duplicated
	python -m tests.faults.kill_campaign --kills $(KILLS) --seed $(SEED)

# The Pythons that people may have the command on; each one that is here, or that uv can fetch.
PYTHONS := 3.12 3.13 3.14

.PHONY: test-pythons
test-pythons: $(STAMP) ## Run the command on each supported Python that is available here
	@for version in $(PYTHONS); do \
	  python=$$(PYENV_VERSION=$$version pyenv which python$$version 2>/dev/null) || python=$$version; \
	  UV_PROJECT_ENVIRONMENT=.pythons/$$version $(UV) sync --quiet --locked --no-dev --extra cli --no-editable \
	    --reinstall-package call-archive --python "$$python" || \
	    echo "Python $$version: NOT TRIED, it is not installed here and uv cannot download it"; \
	done
	pytest tests/cli/test_package.py -rs -k each_python $(PYTEST_ARGS)

.PHONY: test-sam
test-sam: $(STAMP) ## Test both functions in Lambda containers with `sam local`
	pytest tests/sam_local $(PYTEST_ARGS)

# What the benchmarks compare with lives in an environment of its own, so that .venv stays what it is.
BENCH_STAMP := .bench/venv/.synced

$(BENCH_STAMP): $(STAMP)
	UV_PROJECT_ENVIRONMENT=.bench/venv $(UV) sync --locked --python .venv/bin/python --only-group bench
	@touch $@

.PHONY: bench
bench: $(BENCH_STAMP) ## Measure everything (25 minutes, ffmpeg, Chromium, 3 GB of disk) and write docs/benchmarks.md
	python -m bench --write docs/benchmarks.md $(BENCH_ARGS)

.PHONY: bench-quick
bench-quick: $(BENCH_STAMP) ## Measure the main ratios in a minute; writes nothing
	python -m bench --quick

.PHONY: flows
flows: $(STAMP) ## Write flows/*.json and the sample flows of template.yaml from flows/source.py
	python -m flows write

.PHONY: flow-files
flow-files: $(STAMP) ## Write flow files to import into dist/flows (LAMBDA_ARN=, QUEUE_ARN=)
	python -m flows fill --lambda-arn "$$LAMBDA_ARN" --queue-arn "$$QUEUE_ARN"

.PHONY: check-flows
check-flows: $(STAMP) ## Check flow files (FLOWS='my flow.json' or FLOWS='mine.json yours.json'; else the sample flows)
	@if [ -e "$$FLOWS" ]; then set -- "$$FLOWS"; else set -- $${FLOWS:-flows/*.json}; fi; \
	python -m flows.check "$$@"

# atheris instruments one interpreter; it lives in an environment of its own, too.
FUZZ_STAMP := .fuzz/venv/.synced
SECONDS ?= 60

$(FUZZ_STAMP): $(STAMP)
	UV_PROJECT_ENVIRONMENT=.fuzz/venv $(UV) sync --locked --python .venv/bin/python --only-group fuzz
	@touch $@

.PHONY: fuzz
fuzz: $(FUZZ_STAMP) ## Fuzz all targets for SECONDS=60 together, or one: TARGET=media
	python -m fuzz --seconds $(SECONDS) $${TARGET:+--target "$$TARGET"}

# Somebody else's AWS, in an environment of its own, with a lock of its own: it wants another boto3.
EMULATORS_STAMP := .emulators/venv/.synced
EMULATORS_LOCK := tests/emulators/requirements.txt

$(EMULATORS_STAMP): $(STAMP) $(EMULATORS_LOCK)
	$(UV) venv --quiet --allow-existing --python .venv/bin/python .emulators/venv
	VIRTUAL_ENV=.emulators/venv $(UV) pip sync --quiet --require-hashes $(EMULATORS_LOCK)
	@touch $@

.PHONY: emulators-lock
emulators-lock: $(STAMP) ## Pin the requirements of tests/emulators/requirements.in
	$(UV) pip compile --quiet --generate-hashes --no-header --python-version 3.13 \
	  --output-file $(EMULATORS_LOCK) tests/emulators/requirements.in

.PHONY: emulators
emulators: $(EMULATORS_STAMP) ## Install MiniStack, an independent AWS emulator that `make test` uses if installed

.PHONY: test-emulators
test-emulators: $(EMULATORS_STAMP) ## Deploy the stack to MiniStack with four sets of parameters, and archive a call in each
	CALL_ARCHIVE_EMULATOR_SETS=all pytest tests/emulators $(PYTEST_ARGS)

# JOBS: calls that end at once; 1000 takes several minutes and 5 GB of temporary disk.
.PHONY: load
load: $(STAMP) ## Archive many calls at once and write docs/capacity.md (JOBS="1 10 100 1000" WORKERS=10)
	python -m bench.load --write docs/capacity.md $(if $(JOBS),--jobs $(JOBS)) $(if $(filter file,$(origin WORKERS)),,--workers $(WORKERS))

.PHONY: latency
latency: $(STAMP) ## Simulate how soon recordings are available, and write the tables into docs/capacity.md
	python -m bench.latency --write docs/capacity.md

.PHONY: build
build: $(STAMP) ## Build the deployment packages into .aws-sam
	sam build

samconfig.local.toml: | $(STAMP)
	@python -m local.first_deployment

.PHONY: deploy
deploy: samconfig.local.toml build ## Build and deploy; asks a few questions the first time and saves the answers
	sam deploy --config-file samconfig.local.toml $(DEPLOY_ARGS)

.PHONY: bundle
bundle: build ## List the contents of the deployment packages; fail on unexpected files
	@python -m local.bundle .aws-sam/build/FlowFunction .aws-sam/build/ArchiveFunction

.PHONY: requirements
requirements: $(STAMP) ## Write src/requirements.txt from uv.lock
	$(UV) export --locked --no-dev --no-emit-project --no-header --format requirements.txt \
	  --output-file src/requirements.txt --quiet

.PHONY: clean
clean: ## Remove everything that these targets made
	rm -rf demo-output .venv .aws-sam .local-aws .tools .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	  .import_linter_cache .bench .emulators .fuzz .mutants .pythons .coverage htmlcov dist mutants
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
