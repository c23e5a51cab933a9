# The two commands a newcomer needs: make demo, make test. Both make .venv first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
TEST := $(VENV)/.test
PHOTOS := $(VENV)/.photos
DOCS := $(VENV)/.docs

.PHONY: demo demo-photos test test-all check docs bench fuzz clean

demo: $(CORE)
	$(BIN)/auxo train ossl
	$(BIN)/auxo report "$$(ls -td runs/ossl-digits-seed0* | head -n 1)"

# Photographs that scikit-learn and matplotlib ship, and a network from the weights of ImageNet.
demo-photos: $(PHOTOS)
	$(BIN)/python examples/photos.py runs/demo-photos-images
	$(BIN)/auxo train finetune --train runs/demo-photos-images/train --data.ood runs/demo-photos-images/elsewhere \
	  --data.image-size 96 --epochs 8
	$(BIN)/auxo report "$$(ls -td runs/finetune-own-seed0* | head -n 1)"

test: $(TEST)
	scripts/check

test-all: $(TEST)
	scripts/check --all

docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(TEST)
	$(BIN)/python benchmarks/ossl_step.py

# Bad input until it is stopped, or for MINUTES=5; a failure says how to repeat it.
fuzz: $(TEST)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.fuzz $(if $(MINUTES),--minutes $(MINUTES)) \
		$(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only '$(ONLY)') $(if $(ROUNDS),--rounds $(ROUNDS))

clean:
	rm -rf $(VENV) build dist site src/*.egg-info

$(BIN)/python:
	$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'auxo needs Python 3.11 or newer; pass PYTHON=...')"
	$(PYTHON) -m venv $(VENV)

$(CORE): $(BIN)/python pyproject.toml requirements/core.txt
	$(BIN)/python -m pip install --quiet --constraint requirements/core.txt --editable .
	touch $@

$(PHOTOS): $(CORE) requirements/test.txt
	$(BIN)/python -m pip install --quiet --constraint requirements/test.txt --editable ".[pretrained]"
	touch $@

$(TEST): $(CORE) requirements/test.txt
	$(BIN)/python -m pip install --quiet --constraint requirements/test.txt --editable ".[test]"
	touch $@

$(DOCS): $(TEST) requirements/docs.txt
	$(BIN)/python -m pip install --quiet --constraint requirements/docs.txt --editable ".[test,docs]"
	touch $@
