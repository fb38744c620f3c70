# make demo   set everything up and run the main job on the sample packages
# make test   set everything up and run the tests
# make check  what CI runs: ruff, mypy, import-linter, tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

STAMP := $(VENV)/.installed

.PHONY: demo test check lint setup system lock clean

demo: setup
	$(BIN)/appliance demo --home demo

test: setup
	$(BIN)/python -m pytest

check: lint test

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: system $(STAMP)

system:
	@sh docs/install-system-parts.sh "$(PYTHON)"

$(STAMP): pyproject.toml constraints.txt tests/wheels.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade pip
	PYTHONWARNINGS=ignore $(PIP) install --editable . --group dev
	$(PIP) download --no-deps --only-binary :all: --requirement tests/wheels.txt --dest .cache/test-wheels
	touch $(STAMP)

lock: setup
	{ echo '# Exact versions of everything that is installed; regenerate with `make lock`.'; \
	  $(BIN)/uv pip freeze --python $(BIN)/python --exclude-editable; } > constraints.txt

clean:
	rm -rf $(VENV) demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
