# The verbs. Each works on a fresh clone; those that need packages make an environment of their own in .venv/.
PYTHON ?= python3

.PHONY: build check test notebook bench asan tsan crash chaos soak lifetime model fuzz docs conformance clients

build: ## the extension in place, for development
	$(PYTHON) setup.py --quiet build_ext --inplace

check: ## formatters, linters, types, layers: changes nothing
	$(PYTHON) scripts/check.py

test: ## every Python found (3.11, 3.12, 3.13): install, C unit programs, pytest, leftovers
	$(PYTHON) scripts/test.py $(ARGS)

notebook: ## the tutorial in a real Jupyter kernel, on the standard library and on fastmp
	$(PYTHON) scripts/notebook.py

bench: build ## the rows of benchmarks/: standard library, fastmp, installed peers, interleaved
	$(PYTHON) -m benchmarks

asan: ## C unit programs under the address and undefined-behaviour sanitizers
	$(PYTHON) tests/c/run.py --sanitize address

tsan: ## C unit programs under the thread sanitizer
	$(PYTHON) tests/c/run.py --sanitize thread

crash: ## kill a process at every fault point, and stop it there
	$(PYTHON) tests/crash/run.py

chaos: build ## kill, stop and follow processes at random; `make chaos ARGS="--kills 10000 --seed 2"`
	$(PYTHON) tests/chaos/run.py $(ARGS)

MINUTES ?= 5
soak: build ## mixed traffic for so many minutes: memory, descriptors, throughput over time, as JSON and a plot
	$(PYTHON) tests/soak/run.py --minutes $(MINUTES) $(ARGS)

lifetime: build ## make and drop a million objects, with forks in between: memory and descriptors stay flat
	PYTHONPATH=. $(PYTHON) tests/support/lifetime.py $(or $(CYCLES),1000000)

model: ## check the protocols' models
	$(PYTHON) tests/model/run.py

fuzz: ## libFuzzer on what reads shared memory, with sanitizers: make fuzz SECONDS=600 SEED=7
	$(PYTHON) tests/fuzz/run.py --seconds $(or $(SECONDS),120) --seed $(or $(SEED),0)

docs: ## check the pages of docs/: links and examples
	$(PYTHON) scripts/docs.py

conformance: ## CPython's own suites on every Python found, compared with what the standard library passes
	$(PYTHON) scripts/conformance.py

clients: ## real programs, unchanged, on the standard library and on fastmp: results, times, leftovers
	$(PYTHON) scripts/clients.py $(ARGS)
