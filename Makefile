# clineval: `make report` and `make test` work from a bare checkout with Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP_TOOLS := 7.6.2
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

.DEFAULT_GOAL := help
.PHONY: help install report results test test-fast check notebooks bench verify soak fuzz mutants docs sbom audit-deps lock clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(STAMP) ## Install clineval and all it needs into .venv

$(STAMP): requirements.lock requirements.hashes pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "clineval needs Python >= 3.11; this is %s. Say which: make PYTHON=python3.12" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.hashes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

report: $(STAMP) ## Run the whole job, a minute or two: writes my-results/ and says where its report is
	$(BIN)/clineval run --out my-results

results: $(STAMP) ## Maintainers: renew the published record results/ and the README that quotes it (needs BreastMNIST)
	$(BIN)/clineval run --dataset breastmnist --out results --force
	$(BIN)/python tools/readme.py results README.md
	$(BIN)/python tools/picture.py results/report.html

test: $(STAMP) ## Prove it, some minutes: every test; real data and browser where they are, else it says why not
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder --max-worker-restart 1

test-fast: $(STAMP) ## The fast suite: under a minute, no network
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder --max-worker-restart 1 -m "not slow and not browser"

check: $(STAMP) ## Lint, format, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check src tests benchmarks research tools notebooks
	$(BIN)/mypy
	$(BIN)/lint-imports

notebooks: $(STAMP) ## Run the three notebooks, each from a clean kernel
	$(BIN)/python notebooks/execute.py

bench: $(STAMP) ## Run the benchmarks (minutes each); their records lie in benchmarks/
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

verify: $(STAMP) ## Check the committed results against their provenance and the README
	$(BIN)/clineval verify results

soak: $(STAMP) ## Kill a run at 20 random moments and resume it (about ten minutes)
	$(BIN)/python -W ignore benchmarks/soak_kills.py 20 0

fuzz: $(STAMP) ## 100,000 broken files for every reader; coverage-guided too where atheris is installed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/fuzz_readers.py 100000 0 2>/dev/null
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/fuzz_coverage.py 20000 2>/dev/null

mutants: $(STAMP) ## Plant 300 small defects in statistics/ and count those that the tests notice
	$(BIN)/python -W ignore benchmarks/mutants.py 300 0

docs: $(STAMP) ## Build the documentation site in build/site; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

sbom: $(STAMP) ## Write build/sbom.cdx.json, the bill of materials (CycloneDX) of the lock
	$(BIN)/python .ci/sbom.py

audit-deps: ## Look for known vulnerabilities in the lock (needs the network; fails, saying so, without)
	@$(PYTHON) -m venv --clear build/audit
	@build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1 || \
	  { echo "audit-deps needs the network and has none: nothing was looked up"; exit 1; }
	build/audit/bin/pip-audit --requirement requirements.lock --no-deps --disable-pip --strict

lock: ## Write requirements.lock anew from what is installed in .venv, and requirements.hashes from that
	$(BIN)/python -m pip freeze --exclude-editable --all | grep -viE '^(pip|clineval)' | sed 's/+cpu//' > requirements.lock
	@$(PYTHON) -m venv --clear build/lock
	@build/lock/bin/python -m pip install --quiet --disable-pip-version-check pip-tools==$(PIP_TOOLS)
	grep -v '^torch==' requirements.lock > build/lock/pinned.in
	build/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-annotate --no-header \
	  --no-emit-options --output-file requirements.hashes build/lock/pinned.in

clean: ## Remove the environment and every cache; results/ and my-results/ stay
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
