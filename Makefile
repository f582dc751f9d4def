# `make demo` and `make test` work from a fresh clone; everything else is for developers.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed
SETUP := $(VENV)/.tools
DOCS := $(VENV)/.docs
FAISS := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q GPU && echo gpu || echo cpu)

.PHONY: demo serve test lint format docs bench clean setup

setup: $(SETUP)

# torch for Linux comes from PyPI with 3 GB of CUDA, pinned or not. Without: TORCH_INDEX=https://download.pytorch.org/whl/cpu
$(RUNTIME): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, found {v[0]}.{v[1]}: set PYTHON=/path/to/python3.11")'
	@echo "installing into $(VENV): one to two minutes"
	$(PYTHON) -m venv $(VENV)
	@$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet --index-url $(TORCH_INDEX) "$$(grep '^torch==' constraints.txt)")
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[$(FAISS),serve]'
	@# On all cores, which pip would do on one; a few files of packages are of no Python that can compile them.
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	@touch $(RUNTIME)

# What tests and linters need besides.
$(SETUP): $(RUNTIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(FAISS),serve,test,lint]'
	@touch $(SETUP)

# A small market, and trainings shorter than the defaults: under four minutes on two idle cores, installation included.
DEMO := run=demo data.world=demo 'data.split.shares=[0.66,0.09,0.25]'
demo: $(RUNTIME)
	$(BIN)/python -m pretrain.run $(DEMO) pretrain.max_epochs=7
	$(BIN)/python -m prerank.fit run=demo model=ple prerank.max_epochs=2
	$(BIN)/python -m prerank.fit run=demo model=copr prerank.max_epochs=2
	$(BIN)/python -m prerank.fit run=demo model=grace prerank.max_epochs=2
	$(BIN)/python -m index.audit run=demo index.hold_out_max_epochs=3
	@echo
	@echo "Embedding quality:   runs/demo/reports/embeddings.html"
	@echo "Long-tail dashboard: runs/demo/reports/segments.html"
	@echo "All figures:         runs/demo/prerank/grace/metrics.json"
	@echo "Ask it yourself:     make serve"

# The demo's GRACE behind HTTP, until Ctrl-C.
serve: $(RUNTIME)
	$(BIN)/python -m prerank.export run=demo
	$(BIN)/python -m prerank.serve bundle=runs/demo/bundles/grace

test: $(SETUP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(SETUP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The documentation, in build/docs: a folder that a browser reads from the disk. Its packages are installed for it alone.
docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "Documentation: build/docs/index.html"

$(DOCS): $(SETUP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $(DOCS)

# Speed only: the other files of benchmarks/ rewrite tables and pictures of the docs, and are run by name.
bench: $(SETUP)
	for name in training training_step sampler batches graph_build encoding bootstrap marketplace audit; do $(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
