# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := openvino,tensorrt,torch,train,view,plot,smplx,compare,ray,dev

.PHONY: demo test check bench setup models clip clean
.DELETE_ON_ERROR:

$(VENV)/.installed: pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Kinecast needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python3 has no venv module: install it (Debian: apt-get install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

setup: $(VENV)/.installed

models: setup
	$(BIN)/kinecast models pull

clip: setup
	$(BIN)/kinecast demo --fetch-only

demo: models clip
	$(BIN)/kinecast demo $(ARGS)

# mypy reads no import hooks: it finds kinecast.capture … through links
NAMESPACE := build/namespace/kinecast
$(NAMESPACE):
	@mkdir -p $@
	@for floor in capture calibration engines nodes; do ln -sfn ../../../$$floor $@/$$floor; done

check: setup $(NAMESPACE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check models clip
	$(BIN)/python -m pytest $(ARGS)

bench: models clip
	$(BIN)/kinecast bench $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache out
