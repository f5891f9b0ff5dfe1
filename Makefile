# Everything happens in a virtual environment in $(VENV); nothing outside this folder is touched.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --disable-pip-version-check --quiet -c constraints.txt

# What a change of makes a new installation necessary.
SOURCES := pyproject.toml constraints.txt CMakeLists.txt README.md LICENSE \
	$(shell find src csrc -type f -not -name '*.py[co]' -not -name '*.so')

.PHONY: help demo test lint docs format build oldest-torch release-check clean
.DEFAULT_GOAL := help

help:  ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

demo: $(VENV)/installed-plot  ## tag the recordings in demo/recordings, and find events in a mixture of them
	$(BIN)/audiomamba tag demo/recordings --picture demo/tags.png
	$(BIN)/python demo/mix.py demo/mixed.wav
	$(BIN)/audiomamba timeline demo/mixed.wav --picture demo/timeline.png --overwrite
	@echo "Pictures of it are in demo/tags.png and demo/timeline.png."

# A file's tests stay in one process, which makes what they share, such as a trained model, once.
test: $(VENV)/installed-test  ## run the default tests, in a process per core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

lint: $(VENV)/installed-dev  ## check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/installed-docs  ## build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(VENV)/installed-dev  ## put the code into its format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

build: $(VENV)/build-tools  ## compile the kernels into src/, for work on the checkout itself
	$(BIN)/cmake -S . -B build/cmake -G Ninja -DCMAKE_BUILD_TYPE=Release
	$(BIN)/cmake --build build/cmake
	$(BIN)/cmake --install build/cmake --prefix src

# Its torch.compile and torch.export do not take all models whole; what needs neither is tested.
oldest-torch:  ## run the tests of the core with the oldest PyTorch that is promised
	$(PYTHON) -m venv $(VENV)-oldest-torch
	$(VENV)-oldest-torch/bin/pip install --quiet "torch==2.5.1" "numpy<2.3" ".[hub]" \
		hypothesis pytest pytest-timeout scikit-learn scipy
	OMP_NUM_THREADS=1 $(VENV)-oldest-torch/bin/python -m pytest tests/golden \
		tests/ops/test_selective_scan.py tests/ops/test_mamba_plans.py tests/models/test_zoo.py \
		tests/models/test_aum.py tests/infer/test_tagger.py \
		tests/infer/test_windows.py tests/checkpoints/test_format.py tests/hub/test_find.py \
		-k "not export and not compile"

release-check:  ## build the wheel and the source package, and try them in empty environments
	PYTHON=$(PYTHON) scripts/release_check

clean:  ## delete the virtual environment, builds and caches
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache demo/tags.png demo/mixed.wav demo/timeline.png
	rm -f src/audiomamba/ops/_kernels.so

$(VENV)/build-tools: constraints.txt
	@echo "Installing into $(VENV): a minute or two the first time."
	$(PYTHON) -m venv $(VENV)
	$(PIP) scikit-build-core cmake ninja
	@touch $@

# Installed with the extra that the stamp is named after. Without build isolation the kernels are
# compiled again only if their sources changed.
$(VENV)/installed-%: $(SOURCES) $(VENV)/build-tools
	$(PIP) --no-build-isolation ".[$*]"
	@touch $@
