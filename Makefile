# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# what a command needs beside the base; the tests of a package that is not here are skipped and say so
EXTRAS_demo := openvino,view,c3d
EXTRAS_test := $(EXTRAS_demo),tensorrt,torch,train,plot,smplx,ray,parquet,lsl,readers,cameras,foxglove,ros,dev
EXTRAS_bench := $(EXTRAS_test),compare
COVERS_demo := demo
COVERS_test := demo test
COVERS_bench := demo test bench
# tests run on all processors at once, each in one thread; WORKERS=0: one after the other, in one process
WORKERS ?= logical

.PHONY: demo test check bench setup models clip clean
.PRECIOUS: $(VENV)/.for-%
.DELETE_ON_ERROR:

$(VENV)/.for-%: pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Kinecast needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python3 has no venv module: install it (Debian: apt-get install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS_$*)]'
	@touch $(COVERS_$*:%=$(VENV)/.for-%)

setup: $(VENV)/.for-test
	$(BIN)/kinecast compile

models: $(VENV)/.for-demo
	$(BIN)/kinecast models pull

clip: $(VENV)/.for-demo
	$(BIN)/kinecast demo --fetch-only

FETCH = $(BIN)/kinecast models pull && $(BIN)/kinecast demo --fetch-only

demo: $(VENV)/.for-demo
	$(FETCH)
	$(BIN)/kinecast compile
	$(BIN)/kinecast demo $(ARGS)

# mypy reads no import hooks: it finds kinecast.capture … through links
NAMESPACE := build/namespace/kinecast
$(NAMESPACE):
	@mkdir -p $@
	@for floor in capture calibration engines nodes; do ln -sfn ../../../$$floor $@/$$floor; done

check: $(VENV)/.for-test $(NAMESPACE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# compiled once here, or every worker would compile them for itself
build/kernels: $(VENV)/.for-test $(NAMESPACE) $(shell grep -rl njit --include=*.py engines calibration nodes)
	$(BIN)/python -m tests.warm_up
	@touch $@

test: check build/kernels
	$(FETCH)
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist loadfile --durations 15 $(ARGS)

bench: $(VENV)/.for-bench
	$(FETCH)
	$(BIN)/kinecast bench $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis out
