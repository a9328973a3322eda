# Each target does its own set-up; a second call is quick.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test test-slow test-gpu test-pycuda lint types check bench wheel clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo  ## the main job on the scene that ships with the package
	$(BIN)/headrace demo

test: $(VENV)/.dev build/typing  ## the default tests
	$(BIN)/python -m pytest

test-slow: $(VENV)/.dev  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

test-pycuda: $(VENV)/.dev build/typing  ## the GPU path on the real pycuda and TensorRT's real bindings, without a GPU
	$(BIN)/python -m pytest -m pycuda

test-gpu: gpu-parts $(VENV)/.gpu build/typing  ## the GPU path on a GPU: needs an NVIDIA driver, gcc and the CUDA headers
	$(BIN)/headrace doctor
	HEADRACE_REQUIRE_PEERS=1 $(BIN)/python -m pytest -m gpu -rs

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev build/typing
	MYPYPATH=build/typing $(BIN)/mypy --strict -p headrace.stream -p headrace.engines -p headrace.models -p headrace.tools

check: lint types test  ## all that CI runs

bench: $(VENV)/.dev  ## the speed comparisons of README; takes minutes
	$(BIN)/python benchmarks/against_plain_loop.py
	$(BIN)/python benchmarks/overload.py

wheel: $(VENV)/.dev
	$(BIN)/python -m build --wheel --outdir dist .

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache

# Debian's python3 comes without the module that makes environments; where we may, we install it. A fresh image has no
# lists of packages to install from.
AS_ROOT := $(if $(filter-out 0,$(shell id -u)),sudo -n)
INSTALL_VENV := apt-get update -qq; apt-get install -y -qq python3-venv

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); \
	  echo "python3-venv is missing: installing it"; \
	  $(AS_ROOT) sh -c '$(INSTALL_VENV)' >/dev/null \
	  || { echo "run: sudo apt-get update && sudo apt-get install python3-venv"; exit 1; }; \
	  $(PYTHON) -m venv $(VENV); }

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(PIP) install -e '.[window]'
	@touch $@

# torch and torchvision with their libraries: gigabytes, for the networks' definitions and their tests.
$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(PIP) install -e '.[window,onnx,models,dev]'
	@touch $@

# Before gigabytes are fetched: what cannot be installed by pip must be there.
.PHONY: gpu-parts
gpu-parts:
	@$(PYTHON) -c 'import ctypes; ctypes.CDLL("libcuda.so.1")' 2>/dev/null \
	  || { echo "no NVIDIA driver is visible (libcuda.so.1 does not load): install the driver; in a container, --gpus all"; exit 1; }
	@command -v g++ >/dev/null || { echo "g++ is missing; pycuda is compiled with it: sudo apt-get install g++ python3-dev"; exit 1; }
	@command -v nvcc >/dev/null || [ -e /usr/local/cuda/include/cuda.h ] \
	  || { echo "the CUDA toolkit's headers are missing; pycuda is compiled with them: see docs.nvidia.com/cuda"; exit 1; }

$(VENV)/.gpu: $(VENV)/.dev
	$(PIP) install -e '.[tensorrt]'
	@touch $@

# Type checkers do not see through an editable install of renamed folders.
build/typing:
	@mkdir -p $@/headrace
	@for room in stream engines models tools; do ln -sfn ../../../$$room $@/headrace/$$room; done
