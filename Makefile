PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= audit

.PHONY: audit test test-slow lint clean

audit: $(VENV)/.installed  ## the main job on the built-in graph: a table, and $(OUT)/report.html
	$(BIN)/graph-metamers audit --out $(OUT)

test: $(VENV)/.installed-dev lint  ## everything that must pass
	$(BIN)/pytest -n 2 -m "not slow"

test-slow: $(VENV)/.installed-dev  ## what takes minutes
	$(BIN)/pytest -m slow

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) audit
