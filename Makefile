# `make demo` and `make test` are all that a new user needs: each makes .venv first, if it isn't there.
PYTHON ?= python3
BIN := .venv/bin

# What `make mutation` tests: a pattern of mutants' names, and how many drawn at random; 0 is all.
ONLY ?= *
SAMPLE ?= 0

.PHONY: demo test test-slow lint bench mutation clean

demo: .venv/ready
	$(BIN)/shardloom demo

test: .venv/ready lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m 'not slow'

test-slow: .venv/ready
	$(BIN)/python -m pytest -n 0 -m slow

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@told=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$told"; exit 1; }

bench: .venv/ready
	$(BIN)/python benchmarks/render.py
	$(BIN)/python benchmarks/read_shards.py
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python benchmarks/annotate_ocr.py
	$(BIN)/python -m benchmarks.three_engines
	$(BIN)/python benchmarks/grounding_dino.py
	$(BIN)/python benchmarks/caption_tags.py
	$(BIN)/python -m benchmarks.captions
	$(BIN)/python -m benchmarks.ingest
	$(BIN)/python -m benchmarks.mix
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/generate.py
	$(BIN)/python benchmarks/ocr_quality.py
	$(BIN)/python -m benchmarks.driver
	$(BIN)/python -m benchmarks.soak

mutation: .venv/mutation
	nice -n 10 $(BIN)/python -m benchmarks.mutation --only '$(ONLY)' --sample $(SAMPLE)

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
	touch .venv/ready

.venv/mutation: .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[mutation]'
	touch .venv/mutation

clean:
	rm -rf .venv mutants demo-output build *.egg-info
