# One word for each thing a developer does. Everything runs in .venv, which the first of them makes.
PYTHON ?= python3.11
BIN = .venv/bin
# What `make quick` tests: what is fast and breaks first. Every test is in `make test`.
QUICK = tests/test_architecture.py tests/test_words.py tests/docs/test_links.py tests/core/blocks tests/core/data \
	tests/core/evaluation tests/core/losses tests/core/models tests/core/recipe tests/core/registration tests/core/runs \
	tests/plugins/contrastive tests/plugins/masked tests/plugins/redundancy

.PHONY: demo quick test test-slow check golden reference reference-images format lint types docs dist clean

.venv/demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/python -m pip install --quiet -e '.[samples]' -c constraints.txt
	touch $@

.venv/dev: .venv/demo
	$(BIN)/python -m pip install --quiet -e '.[dev]' -c constraints.txt
	touch $@

demo: .venv/demo ## train the image-text recipe on OpenMoji, evaluate it, say where the run is
	$(BIN)/sensorium train image-text

quick: .venv/dev ## what to run between edits: lint, and the tests that take under two minutes on two cores
	$(BIN)/ruff check --quiet .
	$(BIN)/python -m pytest $(QUICK)

test: .venv/dev ## the fast tests
	$(BIN)/python -m pytest

test-slow: .venv/dev ## every test, minutes each
	$(BIN)/python -m pytest -m slow -n 0

check: format lint types test docs ## everything that must hold before a change lands

golden: .venv/dev ## record the first losses of every objective on every modality anew; look at the difference
	$(BIN)/python -m tests.golden.record

reference: .venv/dev ## write the generated pages of docs/ anew
	$(BIN)/python -m docs.generate

reference-images: .venv/dev ## the same, with the images of what each view generator does
	$(BIN)/python -m docs.generate --images

format: .venv/dev
	$(BIN)/ruff format --check .

lint: .venv/dev
	$(BIN)/ruff check .

types: .venv/dev
	$(BIN)/mypy

docs: .venv/dev
	$(BIN)/mkdocs build --strict --quiet

dist: .venv/dev
	rm -rf dist
	$(BIN)/python -m build --quiet

clean:
	rm -rf .venv build dist site *.egg-info
